//! Removes secrets from URLs, valid or not.

use super::percent::percent_decode;

/// Removes anything from a text that should be a URL, but may be invalid, that may be a password or a token: user info
/// up to the last `@`, the values of the query, and the fragment. The result is truncated to 100 characters.
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
        shown = format!("{shown}?{}", mask_values(query, |_, _| true));
    }
    if shown.chars().count() > MAX_LENGTH {
        shown = shown.chars().take(MAX_LENGTH).chain(['…']).collect();
    }
    shown
}

/// Masks the values of a valid URL's query that may be secrets. The others tell one URL from another.
pub fn redacted_query(query: &str) -> String {
    mask_values(query, |name, value| is_secret_name(name) || has_secret_name(value) || is_like_a_token(value))
}

/// Masks the values for which `is_secret` returns true; what has no name is a value.
fn mask_values(query: &str, is_secret: impl Fn(&str, &str) -> bool) -> String {
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, value)) if is_secret(name, value) => format!("{name}=***"),
        None if !parameter.is_empty() && is_secret("", parameter) => "***".to_owned(),
        _ => parameter.to_owned(),
    });
    parameters.collect::<Vec<_>>().join("&")
}

/// Whether a parameter with this name may be a secret: by a word in it, wherever it stands, or by a whole word, since
/// `keyword`, `design` and `author` are none.
fn is_secret_name(name: &str) -> bool {
    const ANYWHERE: [&str; 9] =
        ["token", "signature", "secret", "passw", "credential", "session", "ticket", "x-amz-", "x-goog-"];
    const WHOLE: [&str; 14] = [
        "pw",
        "bearer",
        "hmac",
        "sig",
        "key",
        "apikey",
        "auth",
        "authorization",
        "policy",
        "code",
        "jwt",
        "pwd",
        "pass",
        "sid",
    ];
    let name = percent_decode(name);
    let lower = name.to_ascii_lowercase();
    let mut words: Vec<String> = Vec::new();
    let mut is_after_lower = false;
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if c.is_alphanumeric() && !(is_after_lower && c.is_uppercase()) => word.extend(c.to_lowercase()),
            _ => words.push(c.to_lowercase().filter(|c| c.is_alphanumeric()).collect()),
        }
        is_after_lower = c.is_lowercase();
    }
    ANYWHERE.iter().any(|word| lower.contains(word)) || words.iter().any(|word| WHOLE.contains(&word.as_str()))
}

/// Whether a value has parameters of its own, with a secret among them: it is a URL, or `;` separates parameters.
fn has_secret_name(value: &str) -> bool {
    percent_decode(value)
        .split(['?', '&', ';'])
        .filter_map(|part| part.split_once('='))
        .any(|(name, _)| is_secret_name(name))
}

/// Whether a value may be a token: it has 20 or more characters without a break. What people write has breaks.
fn is_like_a_token(value: &str) -> bool {
    const LENGTH: usize = 20;
    let is_break = |c: char| !c.is_alphanumeric() && !"+=_~".contains(c);
    percent_decode(value).split(is_break).any(|run| run.chars().count() >= LENGTH)
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

    #[test]
    fn only_values_that_may_be_secrets_are_masked_in_valid_urls() {
        for (query, shown) in [
            ("id=5&file=my-long-data-set-name-2024-11.tar.gz", "id=5&file=my-long-data-set-name-2024-11.tar.gz"),
            (
                "access_token=1&apiKey=2&X-Amz-Date=3&sessionid=4",
                "access_token=***&apiKey=***&X-Amz-Date=***&sessionid=***",
            ),
            (
                "Sig=1&api_key=2&Policy=3&%74oken=4&authToken=5",
                "Sig=***&api_key=***&Policy=***&%74oken=***&authToken=***",
            ),
            ("keyword=1&design=2&author=3&codec=4&postcode=5", "keyword=1&design=2&author=3&codec=4&postcode=5"),
            ("a=0123456789012345678&b=01234567890123456789", "a=0123456789012345678&b=***"),
            ("x=eyJhbGciOi_JIUzI1Ni%3D%3D&y=/data/set/one/two/three", "x=***&y=/data/set/one/two/three"),
            ("download&AbCdEfGhIjKlMnOpQrStUv&&", "download&***&&"),
            ("id=", "id="),
            ("a=1;token=abc&url=http://x/y%3Ftoken%3Dabc&u=/z?v=1", "a=***&url=***&u=/z?v=1"),
        ] {
            assert_eq!(redacted_query(query), shown);
        }
    }
}
