//! Metalink 4 (RFC 5854): names, sizes, digests and mirrors.

use roxmltree::{Document, Node};

use super::checksum::parse_digest;
use super::error::{Problem, bad_value};
use super::record::Record;
use super::reference::{has_scheme, resolve};
use super::sink::Sink;
use crate::digest::Algorithm;
use crate::url::WebUrl;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:metalink";
const NAMESPACE_OF_VERSION_3: &str = "http://www.metalinker.org/";

/// The priority of a URL without one (RFC 5854, section 4.1.2.16.2).
const LOWEST_PRIORITY: u32 = 999_999;

/// Parses a Metalink document.
pub fn parse_metalink(text: &str, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let (pos, message) = (error.pos(), error.to_string());
            let problem = Problem::new(format!("this is not valid XML: {}", crate::text::safe(&message)));
            return sink.put(pos.row, Err(problem.at_column(pos.col as usize)));
        }
    };
    let root = document.root_element();
    if let Err(problem) = check_root(root) {
        return sink.put(document.text_pos_at(root.range().start).row, Err(problem));
    }
    let (mut line, mut counted) = (1, 0);
    for file in root.children().filter(|node| is(*node, "file")) {
        // Counted on, for the document would count from its start each time.
        let start = file.range().start;
        line += u32::try_from(text[counted..start].matches('\n').count()).unwrap_or(u32::MAX);
        counted = start;
        sink.put(line, to_record(file, base).and_then(Record::into_entry));
    }
}

fn check_root(root: Node<'_, '_>) -> Result<(), Problem> {
    let name = root.tag_name();
    match (name.name(), name.namespace()) {
        ("metalink", Some(NAMESPACE)) => Ok(()),
        ("metalink", Some(NAMESPACE_OF_VERSION_3)) => {
            Err(Problem::new("this is Metalink 3; tdl reads Metalink 4 (.meta4, RFC 5854)"))
        }
        (name, _) => Err(bad_value("the document", name, "is not a Metalink 4 document")),
    }
}

fn to_record(file: Node<'_, '_>, base: Option<&WebUrl>) -> Result<Record, Problem> {
    let name = file.attribute("name").ok_or_else(|| Problem::new("the file has no name"))?;
    let mut record = Record { out: Some(name.to_owned()), ..Record::default() };
    let mut urls = Vec::new();
    let mut digests = 0;
    for node in file.children().filter(Node::is_element) {
        let text = node.text().unwrap_or_default().trim();
        match node.tag_name().name() {
            "size" if is(node, "size") => {
                let size = text.parse().map_err(|_| bad_value("the size", text, "is not a number of bytes"))?;
                record.size = Some(size);
            }
            "hash" if is(node, "hash") => {
                digests += 1;
                let algorithm = node.attribute("type").and_then(Algorithm::from_name);
                record.digests.extend(algorithm.map(|algorithm| parse_digest(algorithm, text)).transpose()?);
            }
            // Mirrors that speak another protocol are passed over.
            "url" if is(node, "url") && (!has_scheme(text) || is_web(text)) => {
                let priority = node.attribute("priority").and_then(|priority| priority.parse().ok());
                urls.push((priority.unwrap_or(LOWEST_PRIORITY), resolve(text, base)?));
            }
            _ => {}
        }
    }
    if digests > 0 && record.digests.is_empty() {
        return Err(bad_value("the file", name, "has only digests of algorithms that tdl does not know"));
    }
    if urls.is_empty() {
        return Err(bad_value("the file", name, "has no http or https URL"));
    }
    // A stable sort: mirrors of one priority stay in their order.
    urls.sort_by_key(|(priority, _)| *priority);
    record.urls = urls.into_iter().map(|(_, url)| url).collect();
    Ok(record)
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.has_tag_name((NAMESPACE, name))
}

fn is_web(url: &str) -> bool {
    let scheme = url.split(':').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

#[cfg(test)]
mod tests {
    use crate::plan::list::testing::{check, messages};

    #[test]
    fn all_that_a_file_has_is_taken() {
        check(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n <published>2026-01-01T00:00:00Z</published>\n\
             <file name=\"d/a.iso\"><size>7</size><hash type=\"sha-256\">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</hash>\
             <hash type=\"whirlpool\">00</hash><pieces length=\"4\" type=\"sha-1\"><hash>00</hash></pieces>\n\
             <url priority=\"2\">http://two/a</url><url>http://last/a</url><url priority=\"1\" location=\"de\">http://one/a</url><url priority=\"1\">ftp://f/a</url>\
             <metaurl mediatype=\"torrent\">http://t/a.torrent</metaurl></file>\n<file name=\"b\"><url>http://h/b</url></file></metalink>",
            &[
                "4 http://one/a http://two/a http://last/a -> d/a.iso 7 sha-256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "6 http://h/b -> b",
            ],
        );
    }

    #[test]
    fn what_is_not_metalink_4_is_refused() {
        let document =
            |content: &str| format!("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">{content}</metalink>");
        for (text, message) in [
            (
                "<metalink xmlns=\"http://www.metalinker.org/\" version=\"3.0\"/>".to_owned(),
                "list:1: this is Metalink 3; tdl reads Metalink 4 (.meta4, RFC 5854)",
            ),
            ("<feed/>".to_owned(), "list:1: the document 'feed' is not a Metalink 4 document"),
            (document("<file><url>http://h/a</url></file>"), "list:1: the file has no name"),
            (
                document("<file name='../a'><url>http://h/a</url></file>"),
                "list:1: the path '../a' leads out of the output directory",
            ),
            (document("<file name='a'><url>ftp://h/a</url></file>"), "list:1: the file 'a' has no http or https URL"),
            (
                document("<file name='a'><url>http://h/a</url><hash type='x'>0</hash></file>"),
                "list:1: the file 'a' has only digests of algorithms that tdl does not know",
            ),
            (document("<file name='a'><size>x</size></file>"), "list:1: the size 'x' is not a number of bytes"),
        ] {
            assert_eq!(messages(&text), [message]);
        }
        assert_eq!(messages("<metalink>\n<file").len(), 1);
        assert!(messages("<metalink>\n<file")[0].contains(": this is not valid XML: "));
        assert!(messages("<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>")[0].contains("not valid XML"));
    }
}
