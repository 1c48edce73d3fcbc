//! Requests: their headers, their credentials, and the redirects that are followed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::command::fetch;
use crate::server::{Reply, Server};

#[test]
fn a_request_names_tdl_and_asks_for_identity_encoding() {
    let server = Server::echo();
    fetch().args([&server.url("/x?q=1"), "-H", "X-Own: a: b", "-H", "X-Own: c"]).run().assert_code(0);
    let request = &server.requests()[0];
    assert_eq!(request.target, "/x?q=1");
    assert_eq!(request.header("user-agent"), Some(concat!("tdl/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!((request.header("referer"), request.header("range")), (None, None));
    let own: Vec<_> = request.headers.iter().filter(|(name, _)| name == "x-own").map(|(_, value)| value).collect();
    assert_eq!(own, ["a: b", "c"]);
}

#[test]
fn the_user_agent_can_be_changed() {
    let server = Server::echo();
    fetch().args([&server.url("/x"), "-H", "User-Agent: me/1"]).run().assert_code(0);
    assert_eq!(server.requests()[0].header("user-agent"), Some("me/1"));
}

#[test]
fn headers_can_be_read_from_a_file() {
    let server = Server::echo();
    fetch().args([&server.url("/x"), "-H", "@headers"]).file("headers", "X-A: 1\r\n\nX-B: 2\n").run().assert_code(0);
    let request = &server.requests()[0];
    assert_eq!((request.header("x-a"), request.header("x-b")), (Some("1"), Some("2")));
    let output =
        fetch().args(["http://h/x", "-H", "@headers"]).file("headers", "X-A: 1\nnonsense").run().assert_code(2);
    assert_eq!(output.stderr, "error: headers:2: expected 'Name: value'\n");
    let secret = "Proxy-Authorization: Basic secret";
    let output = fetch().args(["http://h/x", "-H", "@headers"]).file("headers", secret).run().assert_code(2);
    assert!(output.stderr.starts_with("error: headers:1: it would be sent to the servers; "), "{}", output.stderr);
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
}

#[test]
fn a_redirected_file_is_named_after_the_given_url() {
    let server = Server::start(|request| match request.target.as_str() {
        "/given.txt" => Reply::redirect("/elsewhere/other.bin?x"),
        "/elsewhere/other.bin?x" => Reply::redirect("last"),
        target => Reply::ok(target),
    });
    let mut tdl = fetch().args([&server.url("/given.txt"), "-v"]);
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names(), ["given.txt"]);
    assert_eq!(tdl.read("given.txt"), b"/elsewhere/last");
    assert!(server.requests().iter().all(|request| request.header("referer").is_none()));
    let hop = format!("redirected to {}\n", server.url("/elsewhere/other.bin?x"));
    assert!(output.stderr.contains(&hop), "{}", output.stderr);
    assert_eq!(server.connections(), 1, "the short body of a redirect is read, so that its connection can be reused");
}

#[test]
fn credentials_stay_with_their_origin() {
    let other = Server::echo();
    let elsewhere = other.url("/b");
    let server = Server::start(move |request| match request.target.as_str() {
        "/away" => Reply::redirect(elsewhere.clone()),
        "/within" => Reply::redirect("/target"),
        target => Reply::ok(target),
    });
    let with_user = server.url("").replace("://", "://user:pass@");
    for (url, authorization) in [(server.url(""), "Bearer secret"), (with_user, "Basic dXNlcjpwYXNz")] {
        let mut arguments = vec![format!("{url}/away"), format!("{url}/within"), "-HCookie: a=secret".to_owned()];
        if authorization.starts_with("Bearer") {
            arguments.push(format!("-HAuthorization: {authorization}"));
        }
        let output = fetch().args(arguments).run().assert_code(0);
        assert!(!format!("{output:?}").contains("pass@"), "{output:?}");
        assert!(!output.stderr.contains("warning"), "a single origin needs no warning: {}", output.stderr);
        for request in server.requests() {
            assert!(request.header("cookie").is_some() && request.header("authorization").is_some(), "{request:?}");
        }
    }
    assert_eq!(other.requests().len(), 2);
    for request in other.requests() {
        assert_eq!((request.header("cookie"), request.header("authorization")), (None, None));
    }
}

#[test]
fn a_credential_for_several_servers_causes_one_warning() {
    let servers = [Server::echo(), Server::echo()];
    let urls = servers.each_ref().map(|server| server.url("/x"));
    let output =
        fetch().args(urls).args(["-H", "Authorization: Bearer secret", "-H", "Cookie: a=b"]).run().assert_code(0);
    let warning = "warning: the header Authorization will be sent to all 2 servers in the list\n";
    assert_eq!(output.stderr.matches(warning).count(), 1, "{}", output.stderr);
    assert!(!output.stderr.contains("secret"));
}

#[test]
fn endless_and_foreign_redirects_are_not_followed() {
    let server = Server::start(|request| match request.target.split_once('-') {
        Some(("/count", number)) => Reply::redirect(format!("/count-{}", number.parse::<u32>().unwrap() + 1)),
        _ => match request.target.as_str() {
            "/circle" => Reply::redirect("/circle2"),
            "/circle2" => Reply::redirect("/circle"),
            "/file" => Reply::redirect("file:///etc/passwd"),
            "/ftp" => Reply::redirect("ftp://127.0.0.1/x"),
            "/escape" => Reply::redirect("data:,\u{202e}x"),
            "/nowhere" => Reply::status(302),
            target => panic!("{target}"),
        },
    });
    for (path, message, requests) in [
        ("/count-0", "more than 10 redirects, the last to ", 11),
        ("/circle", "more than 10 redirects, the last to ", 11),
        ("/file", "redirects to 'file:///etc/passwd', which is not an http or https URL", 1),
        ("/ftp", "redirects to 'ftp://127.0.0.1/x', which is not an http or https URL", 1),
        ("/escape", "redirects to 'data:,\\u{202e}x', which is not an http or https URL", 1),
        ("/nowhere", "the server responded with 302 Found", 1),
    ] {
        let before = server.requests().len();
        let mut tdl = fetch().arg(server.url(path));
        let output = tdl.run().assert_code(1);
        assert!(output.stderr.contains(message), "{}", output.stderr);
        assert_eq!(server.requests().len() - before, requests, "{path}");
        assert!(tdl.names().is_empty());
    }
}

#[test]
fn a_self_signed_certificate_fails_permanently_without_insecure() {
    let server = Server::start_tls(|request| Reply::ok(request.target.clone()));
    let mut tdl = fetch().arg(server.url("/x"));
    let output = tdl.run().assert_code(1);
    assert!(output.stderr.contains("failed: could not establish a secure connection: "), "{}", output.stderr);
    assert!(output.stderr.contains("--insecure accepts any certificate"), "{}", output.stderr);
    assert!(tdl.names().is_empty());

    let mut tdl = fetch().args([&server.url("/x"), "--insecure"]);
    tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), b"/x");
}

#[test]
fn what_keeps_tls_from_working_is_said_in_plain_words() {
    let unknown = Server::start_tls(|_| Reply::ok("x"));
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let closes = TcpListener::bind("127.0.0.1:0").unwrap();
    let (closing, speaking) = (closes.local_addr().unwrap(), plain.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    thread::spawn(move || {
        for stream in closes.incoming().flatten() {
            // Only once the client has begun: otherwise its connection is reset.
            let _ = (&stream).read(&mut [0; 1024]);
        }
    });
    for (url, words) in [
        (unknown.url("/x"), "the server's certificate is from an authority that this system does not know; --insecure"),
        (format!("https://{speaking}/x"), "the server does not speak TLS; is the URL's scheme http?"),
        (format!("https://{closing}/x"), "the server closed the connection while TLS was being set up"),
    ] {
        let output = fetch().args([&url, "--retries=0"]).run();
        assert!(output.stderr.contains(words), "{url}: {}", output.stderr);
    }
}

#[test]
fn https_is_never_downgraded_to_http() {
    let plain = Server::echo();
    let target = plain.url("/x");
    let secure = Server::start_tls(move |_| Reply::redirect(target.clone()));
    let mut tdl = fetch().args([&secure.url("/x"), "--insecure"]);
    let output = tdl.run().assert_code(1);
    let message = format!("{0}: failed: {0} redirects from https to {1}", secure.url("/x"), plain.url("/x"));
    assert!(output.stderr.contains(&message), "{}", output.stderr);
    assert_eq!(plain.requests().len(), 0);

    let target = secure.url("/y");
    let up = Server::start(move |_| Reply::redirect(target.clone()));
    let output = fetch().args([&up.url("/x"), "--insecure"]).run().assert_code(1);
    assert!(output.stderr.contains("redirects from https to"), "http may rise to https: {}", output.stderr);
}

#[test]
fn a_host_without_a_certificate_store_still_downloads_over_http() {
    let server = Server::echo();
    let nowhere = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    fetch().envs(nowhere).arg(server.url("/x")).run().assert_code(0);
    let mut tdl = fetch().envs(nowhere).args([&server.url("/y"), "https://127.0.0.1:9/x", "--retries", "0"]);
    let output = tdl.run();
    assert_eq!(tdl.names(), ["y"], "{output:?}");
    if cfg!(target_os = "linux") {
        let message = "failed: the HTTP client could not be set up: ";
        assert_eq!(output.stderr.matches(message).count(), 1, "{}", output.stderr);
        assert!(output.stderr.contains("is a certificate store installed"), "{}", output.stderr);
    }
}

#[test]
fn a_redirect_to_the_same_url_is_followed() {
    let server = Server::start(|request| match request.number {
        0 => Reply::redirect("/x"),
        _ => Reply::ok("second response"),
    });
    let mut tdl = fetch().arg(server.url("/x"));
    tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), b"second response");
}

#[cfg(target_os = "linux")]
mod slow_connections {
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use crate::command::{Output, fetch};

    /// A listener with a full backlog, and the connections that fill it. No other succeeds until these are accepted.
    fn full_listener() -> (TcpListener, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the backlog never fills");
        }
        (listener, waiting)
    }

    #[test]
    fn the_connect_timeout_may_exceed_the_stall_timeout() {
        let (listener, waiting) = full_listener();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let arguments = ["--retries=0", "--stall-timeout=500ms", "--connect-timeout"];
        for (time, enough) in [("200ms", Duration::from_millis(200)), ("1500ms", Duration::from_millis(1500))] {
            let started = Instant::now();
            let output = fetch().arg(&url).args(arguments).arg(time).run().assert_code(75);
            assert!(started.elapsed() >= enough);
            assert!(output.stderr.contains(&format!("could not connect within {enough:?}")), "{}", output.stderr);
        }

        let mut tdl = fetch().arg(&url).args(arguments).arg("30s");
        let child = tdl.spawn();
        // Longer than the stall timeout, which must not end the attempt to connect.
        std::thread::sleep(Duration::from_millis(1200));
        for _ in &waiting {
            drop(listener.accept().unwrap());
        }
        let serving = std::thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                // Connections of earlier attempts send no request.
                if std::io::Read::read(&mut stream, &mut request).is_ok_and(|count| count > 0) {
                    std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                        .unwrap();
                    return;
                }
            }
        });
        Output::from(child).assert_code(0);
        serving.join().unwrap();
        assert_eq!(tdl.read("x"), b"late");
    }
}
