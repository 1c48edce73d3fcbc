//! The URLs of lists: absolute ones, and references that a base resolves.

use super::error::Problem;
use crate::url::WebUrl;

/// Returns the URL that a list means.
///
/// An absolute URL stands for itself. Anything else is a reference, which `base` resolves (RFC 3986, section 5).
pub fn resolve(text: &str, base: Option<&WebUrl>) -> Result<WebUrl, Problem> {
    let problem = match (WebUrl::parse(text), base) {
        (Ok(url), _) => return Ok(url),
        (Err(error), Some(base)) if !has_scheme(text) => {
            return join(base, text).ok_or_else(|| Problem::new(error.to_string()));
        }
        (Err(error), _) => error.to_string(),
    };
    let is_reference = !problem.ends_with('?') && !has_scheme(text) && !text.contains([' ', '\t']);
    let hint = if is_reference { "; --base URL resolves relative references" } else { "" };
    Err(Problem::new(format!("{problem}{hint}")))
}

/// Whether a text says that it is an absolute URL. A colon alone does not: it may be a part of a path.
pub fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn join(base: &WebUrl, reference: &str) -> Option<WebUrl> {
    if reference.is_empty() || reference.contains(|c: char| c.is_ascii_control() || c == '\\') {
        return None;
    }
    // A colon in the first segment would make it a scheme (RFC 3986, section 4.2).
    let colon_first = reference.find(':').is_some_and(|colon| !reference[..colon].contains(['/', '?', '#']));
    if colon_first { base.join(&format!("./{reference}")) } else { base.join(reference) }
}

/// If a text without a scheme begins with the name of a host, as tables of the European Nucleotide Archive have them,
/// returns the https URL that is meant.
pub fn assume_https(text: &str) -> Option<WebUrl> {
    let (host, path) = text.split_once('/')?;
    let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let (_, top) = host.rsplit_once('.')?;
    let is_host = host.split('.').all(label) && top.len() > 1 && top.chars().all(|c| c.is_ascii_alphabetic());
    (is_host && !path.is_empty()).then(|| WebUrl::parse(&format!("https://{text}")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_the_standard_says() {
        let base = WebUrl::parse("https://h/data/list?x=1").unwrap();
        for (reference, url) in [
            ("a/b.gz", "https://h/data/a/b.gz"),
            ("/a", "https://h/a"),
            ("../a", "https://h/a"),
            ("../../../a", "https://h/a"),
            ("?id=2", "https://h/data/list?id=2"),
            ("//other/a", "https://other/a"),
            ("a:b/c", "https://h/data/a:b/c"),
            ("http:x", "https://h/data/http:x"),
            ("http://other/a", "http://other/a"),
            ("ü x", "https://h/data/%C3%BC%20x"),
        ] {
            assert_eq!(resolve(reference, Some(&base)).unwrap().unredacted(), url, "{reference}");
        }
        for refused in ["", "ftp://h/x", "a\\b", "a\u{1b}b"] {
            assert!(resolve(refused, Some(&base)).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn without_a_base_the_hint_names_it() {
        for (text, has_hint) in [("crawl-data/x.gz", true), ("not a url", false), ("ftp://h/x", false)] {
            let problem = format!("{:?}", resolve(text, None).unwrap_err());
            assert_eq!(problem.contains("--base URL"), has_hint, "{problem}");
        }
    }

    #[test]
    fn only_a_host_name_is_taken_as_one() {
        for (text, url) in [
            ("ftp.sra.ebi.ac.uk/vol1/x.gz", Some("https://ftp.sra.ebi.ac.uk/vol1/x.gz")),
            ("data/x.gz", None),
            ("x.gz", None),
            ("a..b/x", None),
            ("v1.0/x", None),
            ("../x", None),
        ] {
            assert_eq!(assume_https(text).map(|url| url.unredacted().to_owned()).as_deref(), url, "{text}");
        }
    }
}
