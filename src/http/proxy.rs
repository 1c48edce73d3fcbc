//! Reads the proxies from the environment, and configures the HTTP library with them.
//!
//! The variables are curl's: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, or the same in upper case if the
//! lower case is missing or empty. An unusable value is an error. If it were ignored, requests meant for the proxy
//! would bypass it.

use std::ffi::OsString;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{ClientBuilder, NoProxy, Proxy, Url};

use crate::options::{Proxies, ProxyUrl, ProxyUrlError};

/// Reads the proxies from an environment; [`Proxies::System`] if it names none.
///
/// # Errors
///
/// A variable that takes effect has an unusable value.
pub fn proxies_from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Proxies, ProxyError> {
    let value = |name: &&'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (*name, value));
    let first = |names: &[&'static str]| names.iter().find_map(value);
    let proxy = |names: &[&'static str]| first(names).map(|(name, value)| parse(name, value)).transpose();
    // In a CGI program, HTTP_PROXY is the request's header `Proxy`, which an attacker may set (httpoxy.org).
    let is_cgi = variable("REQUEST_METHOD").is_some();
    let http = proxy(if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] })?;
    let https = proxy(&["https_proxy", "HTTPS_PROXY"])?;
    let fallback = if http.is_none() || https.is_none() { proxy(&["all_proxy", "ALL_PROXY"])? } else { None };
    let (http, https) = (http.or_else(|| fallback.clone()), https.or(fallback));
    let except: Vec<_> = match first(&["no_proxy", "NO_PROXY"]) {
        None => Vec::new(),
        Some((name, value)) => {
            let text = value.into_string().map_err(|_| ProxyError { name, problem: Problem::NotUtf8 })?;
            let entries = text.split([',', ' ', '\t']).map(|entry| entry.trim_matches(['[', ']']).to_owned());
            entries.filter(|entry| !entry.is_empty()).collect()
        }
    };
    // reqwest's star matches names only, curl's matches addresses too.
    if except.iter().any(|entry| entry == "*") {
        return Ok(Proxies::Given { http: None, https: None, except: Vec::new() });
    }
    // The system's settings may name a proxy, to which reqwest applies the exceptions.
    let is_named = http.is_some() || https.is_some();
    Ok(if is_named { Proxies::Given { http, https, except } } else { Proxies::System })
}

fn parse(name: &'static str, value: OsString) -> Result<ProxyUrl, ProxyError> {
    let text = value.into_string().map_err(|_| ProxyError { name, problem: Problem::NotUtf8 })?;
    let proxy = ProxyUrl::parse(&text).map_err(|error| ProxyError { name, problem: Problem::Url(error) })?;
    check_usable(name, proxy)
}

/// Checks that the library will use a proxy. It silently ignores one that it cannot use, such as one that is too long.
fn check_usable(name: &'static str, proxy: ProxyUrl) -> Result<ProxyUrl, ProxyError> {
    let matcher = Matcher::builder().all(proxy.url().as_str()).build();
    let is_used = matcher.intercept(&hyper::Uri::from_static("http://h/")).is_some();
    if is_used { Ok(proxy) } else { Err(ProxyError { name, problem: Problem::Url(ProxyUrlError::Malformed) }) }
}

/// The proxies that the options name, or else this process's environment.
pub(super) fn resolve(proxies: &Proxies) -> Result<Proxies, ProxyError> {
    match proxies {
        Proxies::System => proxies_from_environment(|name| std::env::var_os(name)),
        given @ Proxies::Given { .. } => Ok(given.clone()),
    }
}

/// Configures a client with the proxies.
///
/// # Errors
///
/// The options or the environment name an unusable proxy.
pub(super) fn configure(builder: ClientBuilder, proxies: &Proxies) -> Result<ClientBuilder, ProxyError> {
    let Proxies::Given { http, https, except } = resolve(proxies)? else {
        return Ok(builder);
    };
    let except = NoProxy::from_string(&except.join(","));
    let rule = |proxy: ProxyUrl, new: fn(Url) -> reqwest::Result<Proxy>| {
        let unusable = ProxyError { name: "proxy", problem: Problem::Url(ProxyUrlError::Malformed) };
        let rule = new(check_usable("proxy", proxy)?.url().clone()).map_err(|_| unusable)?;
        Ok(rule.no_proxy(except.clone()))
    };
    let mut builder = builder.no_proxy();
    if let Some(proxy) = http {
        builder = builder.proxy(rule(proxy, Proxy::http)?);
    }
    if let Some(proxy) = https {
        builder = builder.proxy(rule(proxy, Proxy::https)?);
    }
    Ok(builder)
}

/// An environment variable with an unusable value. The message shows nothing of the value but its scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct ProxyError {
    name: &'static str,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("{0}; write it as http://HOST:PORT or socks5://HOST:PORT, or unset it")]
    Url(ProxyUrlError),
    #[error("not UTF-8 text; change it, or unset it")]
    NotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        proxies_from_environment(|name| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| value.into())
        })
    }

    /// The proxies for http and https.
    fn both(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        match read(variables).unwrap() {
            Proxies::System => [None, None],
            Proxies::Given { http, https, .. } => [http, https].map(|proxy| proxy.map(|proxy| proxy.url().to_string())),
        }
    }

    #[test]
    fn variables_have_curls_precedence() {
        for (variables, http, https) in [
            (&[][..], None, None),
            (&[("http_proxy", "a")], Some("http://a/"), None),
            (&[("https_proxy", "a")], None, Some("http://a/")),
            (&[("all_proxy", "socks://a:1")], Some("socks5://a:1"), Some("socks5://a:1")),
            (&[("all_proxy", "a"), ("http_proxy", "b")], Some("http://b/"), Some("http://a/")),
            (&[("http_proxy", "a"), ("HTTP_PROXY", "b")], Some("http://a/"), None),
            (&[("http_proxy", ""), ("HTTP_PROXY", "b")], Some("http://b/"), None),
            (&[("HTTPS_PROXY", "a"), ("ALL_PROXY", "b")], Some("http://b/"), Some("http://a/")),
            (&[("https_proxy", ""), ("all_proxy", "")], None, None),
            (&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")], None, None),
            (&[("http_proxy", "a"), ("REQUEST_METHOD", "GET")], Some("http://a/"), None),
            (&[("all_proxy", "a"), ("no_proxy", "h,*")], None, None),
        ] {
            assert_eq!(both(variables), [http, https].map(|proxy| proxy.map(str::to_owned)), "{variables:?}");
        }
    }

    #[test]
    fn exceptions_are_separated_by_commas_or_spaces() {
        let except = |variables: &[(&str, &str)]| match read(variables).unwrap() {
            Proxies::Given { except, .. } => except.join(","),
            Proxies::System => panic!(),
        };
        let list = "localhost, .example.org 10.0.0.0/8,[::1]";
        assert_eq!(except(&[("http_proxy", "a"), ("no_proxy", list)]), "localhost,.example.org,10.0.0.0/8,::1");
        assert_eq!(except(&[("http_proxy", "a"), ("NO_PROXY", "h"), ("no_proxy", "")]), "h");
        assert_eq!(except(&[("http_proxy", "a")]), "");
        // Without a proxy, the system's settings apply, unless everything is an exception.
        assert_eq!(read(&[("no_proxy", "h")]).unwrap(), Proxies::System);
        assert_ne!(read(&[("no_proxy", "*")]).unwrap(), Proxies::System);
    }

    #[test]
    fn an_unusable_value_is_an_error_that_names_the_variable_and_no_secret() {
        for (variables, message) in [
            (&[("all_proxy", "ftp://user:secret@a:1")][..], "all_proxy: unsupported proxy scheme 'ftp'; write it as "),
            (&[("HTTP_PROXY", "not a secret")], "HTTP_PROXY: not a valid proxy URL; write it as "),
            (&[("https_proxy", "a:secret")], "https_proxy: not a valid proxy URL; "),
            (&[("http_proxy", &"a".repeat(70_000))], "http_proxy: not a valid proxy URL; "),
            // A variable that another one overrides is not checked.
            (&[("https_proxy", "a"), ("HTTPS_PROXY", "secret://"), ("all_proxy", "b:x")], "all_proxy: "),
        ] {
            let error = read(variables).unwrap_err().to_string();
            assert!(error.starts_with(message) && !error.contains("secret"), "{error}");
        }
        read(&[("http_proxy", "a"), ("https_proxy", "a"), ("all_proxy", "ftp://a")]).unwrap();
    }

    #[test]
    fn the_library_uses_every_url_that_is_accepted_here() {
        for text in [
            "proxy",
            "proxy:3128",
            "http://user:p%40s!$&'()*+,;=s@proxy:3128/path?query",
            "http://us er:\u{e9}@proxy",
            "https://[::1]:1",
            "http://b\u{fc}cher.example",
            "http://under_score",
            "socks://proxy",
            "socks5h://u:p@1.2.3.4:5",
            "socks4a://proxy:1080",
        ] {
            let url = ProxyUrl::parse(text).unwrap();
            assert!(check_usable("x", url.clone()).is_ok(), "{text}");
            assert!(Proxy::all(url.url().clone()).is_ok(), "{text}");
        }
    }
}
