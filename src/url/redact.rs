//! Removes secrets from URLs, valid or not.

/// Removes anything from a URL, valid or not, that may be a password or a token: user info up to the last `@`, the
/// values of the query, and the fragment. The result is truncated to 100 characters.
#[must_use]
pub fn redacted(text: &str) -> String {
    const MAX_LENGTH: usize = 100;
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
    if shown.chars().count() > MAX_LENGTH {
        shown = shown.chars().take(MAX_LENGTH).chain(['…']).collect();
    }
    shown
}

/// Masks the values of a query. A parameter without a name may be a token, and is masked entirely.
pub fn redacted_query(query: &str) -> String {
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None if parameter.is_empty() => String::new(),
        None => "***".to_owned(),
    });
    parameters.collect::<Vec<_>>().join("&")
}

/// The scheme at the start of a text, with its `://`; empty if there is none.
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
    fn secrets_are_removed_from_valid_and_invalid_urls() {
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
