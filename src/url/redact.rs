//! Taking secrets out of text that names a URL, be it a good one or not.

/// A text that may be a URL, or was meant as one, without what may be a password or a token in it: nothing before the
/// last `@`, no values of a query, no fragment; and not longer than is good to read.
#[must_use]
pub fn redacted(text: &str) -> String {
    const LONGEST: usize = 100;
    let without_fragment = text.split('#').next().unwrap_or_default();
    let (before, query) = match without_fragment.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (without_fragment, None),
    };
    let mut shown = match before.rsplit_once('@') {
        Some((user, rest)) => format!("{}{rest}", scheme(user)),
        None => before.to_owned(),
    };
    if let Some(query) = query {
        shown = format!("{shown}?{}", redacted_query(query));
    }
    if shown.chars().count() > LONGEST {
        shown = shown.chars().take(LONGEST).chain(['…']).collect();
    }
    shown
}

/// Names of parameters stay, values go; a parameter without a name may be a token, and goes whole.
pub fn redacted_query(query: &str) -> String {
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None if parameter.is_empty() => String::new(),
        None => "***".to_owned(),
    });
    parameters.collect::<Vec<_>>().join("&")
}

/// The scheme that a text begins with, and its `://`.
fn scheme(text: &str) -> &str {
    match text.find("://") {
        Some(at) if text[..at].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
            &text[..at + 3]
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_stays_however_the_text_is_broken() {
        for (text, shown) in [
            ("http://user:secret@host/x", "http://host/x"),
            ("user:secret@host/x", "host/x"),
            ("https//user:secret@host/x", "host/x"),
            ("http:/user:secret@host/x", "host/x"),
            ("http://user:se/cret@host/x", "http://host/x"),
            ("http://host:bad/x#access_token=secret", "http://host:bad/x"),
            ("s3://user:secret@bucket/k?X-Sig=secret&secret", "s3://bucket/k?X-Sig=***&***"),
            ("http://host/x?q=secret@secret", "http://host/x?q=***"),
            ("nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(redacted(text), shown);
        }
        assert_eq!(redacted(&"x".repeat(200)).chars().count(), 101);
    }
}
