//! Lists of one entry per line: a URL, a URL and a name, a URL with options in the lines after it, or a checksum and a
//! name or URL. The four may be mixed.

use super::armor::Armor;
use super::checksum::parse_checksum;
use super::error::{Problem, bad_value};
use super::options::{apply_option, is_known_option, split_option};
use super::record::Record;
use super::reference::{has_scheme, resolve};
use super::sink::Sink;
use crate::url::{WebUrl, percent_encode_path};

/// Parses lists of one entry per line.
#[derive(Debug, Default)]
pub struct LinesParser {
    /// The last URL and its line. The lines that follow may have options for it.
    pending: Option<(u32, Result<Record, Problem>)>,
    /// Whether there was a line with options. If not, none is waited for.
    has_options: bool,
    armor: Armor,
}

impl LinesParser {
    pub fn push_line(&mut self, line: &str, number: u32, base: Option<&WebUrl>, sink: &mut Sink<'_>) {
        if self.armor.covers(line) {
            return;
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        let is_indented = line.starts_with([' ', '\t']);
        if is_indented && let Some((key, value)) = split_option(text) {
            self.has_options = true;
            self.add_option(key, value, number, sink);
            return;
        }
        self.finish(sink);
        self.pending = Some((number, parse_line(text, base, sink)));
    }

    /// Hands over the last URL although a line with options could follow, unless this list has such lines.
    pub fn release(&mut self, sink: &mut Sink<'_>) {
        if !self.has_options {
            self.finish(sink);
        }
    }

    /// Hands over the last URL: no options follow.
    pub fn finish(&mut self, sink: &mut Sink<'_>) {
        if let Some((line, record)) = self.pending.take() {
            sink.put(line, record.and_then(Record::into_entry));
        }
    }

    fn add_option(&mut self, key: &str, value: &str, number: u32, sink: &mut Sink<'_>) {
        match &mut self.pending {
            None => {
                sink.put(number, Err(bad_value("the option", key, "stands before any URL, or came too late after it")));
            }
            // The error of a URL is enough.
            Some((_, Err(_))) => {}
            Some((_, Ok(record))) => {
                if let Err(problem) = apply_option(record, key, value, sink) {
                    self.pending = Some((number, Err(problem)));
                }
            }
        }
    }
}

fn parse_line(text: &str, base: Option<&WebUrl>, sink: &mut Sink<'_>) -> Result<Record, Problem> {
    if let Some(parsed) = parse_checksum(text) {
        let (digest, name) = parsed?;
        let mut record = if has_scheme(&name) { Record::from_url(&name, base)? } else { named_by_sum(&name, base)? };
        record.digests.push(digest);
        return Ok(record);
    }
    let (url, rest) = text.split_at(text.find([' ', '\t']).unwrap_or(text.len()));
    if is_hash(url) {
        return Err(bad_value("the checksum", url, "has no name after it, or the length of no known algorithm"));
    }
    if rest.is_empty() {
        return Record::from_url(text, base);
    }
    let mut record =
        Record::from_url(url, base).map_err(|problem| if base.is_some() { problem } else { not_a_url(text) })?;
    for field in split_rest(rest)? {
        if has_scheme(field) {
            record.urls.push(resolve(field, base)?);
        } else if let Some((key, value)) = split_option(field).filter(|_| is_known_option(field)) {
            apply_option(&mut record, key, value, sink)?;
        } else if record.out.is_some() {
            return Err(bad_value("the text", field, "is a second file name"));
        } else {
            record.out = Some(field.to_owned());
        }
    }
    Ok(record)
}

/// Says that a line with several words is no URL, or what else it may be.
fn not_a_url(text: &str) -> Problem {
    if text.contains('\t') {
        return Problem::new(
            "this is not a URL; if the list is a table, --column url=NAME says which column has the URLs",
        );
    }
    // The first word alone may be a part of a secret.
    resolve(text, None).err().unwrap_or_else(|| Problem::new("the URL contains a space; write %20"))
}

/// Whether a word is probably a checksum: no file is named like that.
fn is_hash(word: &str) -> bool {
    const MIN_DIGITS: usize = 32;
    word.len() >= MIN_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Splits what follows a URL, with the white space before it, into a file name, mirrors and options.
fn split_rest(rest: &str) -> Result<Vec<&str>, Problem> {
    let fields = rest.trim_start();
    let is_separated = rest.starts_with('\t') || rest.len() - fields.len() > 1;
    if fields.starts_with('#') {
        return Err(Problem::new("text follows the URL; write a comment on a line of its own"));
    }
    if is_separated {
        return Ok(fields.split('\t').map(str::trim).filter(|field| !field.is_empty()).collect());
    }
    if fields.split_whitespace().all(is_known_option) {
        return Ok(fields.split_whitespace().collect());
    }
    if has_scheme(fields) {
        return Err(Problem::new(
            "several URLs are in one line; write each on a line of its own, or a tab between mirrors",
        ));
    }
    let hint = "write two spaces or a tab before a file name, and %20 for a space in a URL";
    Err(bad_value("the text", fields, &format!("follows the URL; {hint}")))
}

/// A checksum file names files, not URLs: any character of a name may be one that means something in a URL.
fn named_by_sum(name: &str, base: Option<&WebUrl>) -> Result<Record, Problem> {
    let Some(base) = base else {
        return Err(bad_value(
            "the checksum of",
            name,
            "needs to know where the file is: --base URL, or --sums if another list says",
        ));
    };
    let path = name.trim_start_matches("./");
    let url = resolve(&percent_encode_path(path), Some(base))?;
    Ok(Record { urls: vec![url], out: Some(name.to_owned()), ..Record::default() })
}

#[cfg(test)]
mod tests {
    use crate::plan::list::testing::{check, messages};

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn lists_from_any_editor_are_read() {
        check(
            "\u{feff}# a comment\r\nhttp://h/a\r\n\r\n  http://h/b  \n\thttp://h/c\n#http://h/no\nhttp://h/d?x=1",
            &["2 http://h/a", "4 http://h/b", "5 http://h/c", "7 http://h/d?x=1"],
        );
        check("", &[]);
        check("# nothing\n\n", &[]);
    }

    #[test]
    fn a_name_or_a_mirror_may_follow_a_url() {
        check(
            "http://h/x?id=3\ta/b.csv\nhttp://h/y  c d.csv\nhttp://h/z\thttp://m/z\nhttp://h/z\thttp://m/z\tq  r.csv",
            &[
                "1 http://h/x?id=3 -> a/b.csv",
                "2 http://h/y -> c d.csv",
                "3 http://h/z http://m/z",
                "4 http://h/z http://m/z -> q  r.csv",
            ],
        );
        assert_eq!(
            messages(
                "http://h/a b.csv\nhttp://h/a # note\nhttp://h/a\t# note\nhttp://h/a\tb\tc\nhttp://h/a http://h/b\nhttp://h/a\t../b\nhttp://h/a  /b"
            ),
            [
                "list:1: the text 'b.csv' follows the URL; write two spaces or a tab before a file name, and %20 for a space in a URL",
                "list:2: text follows the URL; write a comment on a line of its own",
                "list:3: text follows the URL; write a comment on a line of its own",
                "list:4: the text 'c' is a second file name",
                "list:5: several URLs are in one line; write each on a line of its own, or a tab between mirrors",
                "list:6: the path '../b' leads out of the output directory",
                "list:7: the path '/b' is an absolute path; paths of a list are below the output directory",
            ]
        );
    }

    #[test]
    fn options_follow_their_url() {
        check(
            &format!(
                "http://h/a\thttp://m/a\n  out=b.bin\n\tdir=d\n # no option\n checksum=md5={MD5}\n\n header=X-Key: 1\n\
                 http://h/c out=e\nhttp://h/f\n dir=g\nhttp://h/h\n referer=*\n user-agent=me"
            ),
            &[
                &format!("1 http://h/a http://m/a -> d/b.bin md5={MD5} X-Key"),
                "8 http://h/c -> e",
                "9 http://h/f ~> g/f",
                "11 http://h/h Referer User-Agent",
            ],
        );
        assert_eq!(
            messages(" out=x\nhttp://h/a\n checksum=crc32=1\nnot a url\n out=y\nhttp://h/b\n out=../c"),
            [
                "list:1: the option 'out' stands before any URL, or came too late after it",
                "list:3: the algorithm 'crc32' is not known; tdl knows md5, sha-1, sha-224, sha-256, sha-384, sha-512",
                "list:4: 'not a url' is not an absolute URL",
                "list:6: the path '../c' leads out of the output directory",
            ]
        );
    }

    #[test]
    fn an_option_that_tdl_lacks_is_named_once() {
        check(
            "http://h/a\n split=5\n out=b\nhttp://h/c\n split=6\n max-tries=3",
            &[
                "1 http://h/a -> b",
                "4 http://h/c",
                "! list: options that tdl has none like are ignored: max-tries, split",
            ],
        );
    }

    #[test]
    fn checksums_name_files_below_the_base_or_urls() {
        check(
            &format!("{MD5}  a b?.txt\n{MD5} *./d/e\nMD5 (f) = {MD5}\n{MD5}  http://o/g\nh"),
            &[
                &format!("1 http://base/a%20b%3F.txt -> a b_.txt md5={MD5}"),
                &format!("2 http://base/d/e -> d/e md5={MD5}"),
                &format!("3 http://base/f -> f md5={MD5}"),
                &format!("4 http://o/g md5={MD5}"),
                "5 http://base/h",
            ],
        );
    }

    #[test]
    fn a_malformed_checksum_is_no_path() {
        let short = &MD5.repeat(2)[..63];
        let why = "has no name after it, or the length of no known algorithm";
        assert_eq!(
            messages(&format!("{short}  b\n{MD5}\nhttp://u:sec ret@h/")),
            [
                format!("list:1: the checksum '{short}' {why}"),
                format!("list:2: the checksum '{MD5}' {why}"),
                "list:3: the URL contains a space; write %20".to_owned(),
            ]
        );
    }

    #[test]
    fn a_signed_list_is_read_without_its_signature() {
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# Fedora\nMD5 (f) = {MD5}\n\
             -----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n"
        );
        check(&signed, &[&format!("5 http://base/f -> f md5={MD5}")]);
    }
}
