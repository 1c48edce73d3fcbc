//! Proxies from the environment: used as configured, or the run is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::command::{Tdl, fetch};
use crate::server::{Reply, Server};

/// `tdl fetch` with these variables, and without the `NO_PROXY` for loopback of the other tests.
fn fetch_through<const N: usize>(variables: [(&str, &str); N]) -> Tdl {
    fetch().envs([("NO_PROXY", ""), ("no_proxy", "")]).envs(variables)
}

#[test]
fn http_uses_the_proxy_and_its_user_info_unless_excluded() {
    let (proxy, direct) = (Server::echo(), Server::echo());
    let with_user = proxy.url("").replace("://", "://user:p%40ss@");
    for (variable, value) in [
        ("http_proxy", with_user.as_str()),
        ("HTTP_PROXY", &with_user),
        ("all_proxy", &with_user),
        ("http_proxy", with_user.strip_prefix("http://").unwrap()),
    ] {
        let before = proxy.requests().len();
        let mut tdl = fetch_through([(variable, value), ("no_proxy", "127.0.0.1")]);
        tdl = tdl.args(["http://nosuch.invalid/x", &direct.url("/y")]);
        tdl.run().assert_code(0);
        assert_eq!(tdl.read("x"), b"http://nosuch.invalid/x");
        assert_eq!(tdl.read("y"), b"/y");
        let requests = proxy.requests();
        assert_eq!(requests.len() - before, 1, "{variable}");
        assert_eq!(requests[before].header("proxy-authorization"), Some("Basic dXNlcjpwQHNz"), "{variable}");
    }
    assert!(direct.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn an_unusable_proxy_is_refused_before_any_request() {
    let server = Server::echo();
    for (variable, value) in [
        ("all_proxy", "ftp://user:secret@127.0.0.1:1"),
        ("http_proxy", "not a secret url"),
        ("HTTPS_PROXY", "socks6://secret:1"),
        ("https_proxy", "http://secret:port"),
        ("ALL_PROXY", "http://"),
    ] {
        let mut tdl = fetch_through([(variable, value)]).arg(server.url("/x"));
        let output = tdl.run().assert_code(2);
        let helps = "; write it as http://HOST:PORT or socks5://HOST:PORT, or unset it\n";
        assert!(
            output.stderr.starts_with(&format!("error: {variable}: ")) && output.stderr.ends_with(helps),
            "{output:?}"
        );
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
        assert!(!tdl.out().exists());
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_star_in_no_proxy_covers_addresses() {
    let (server, proxy) = (Server::echo(), Server::echo());
    for star in ["*", "example.org, *"] {
        fetch_through([("all_proxy", proxy.url("").as_str()), ("no_proxy", star)])
            .arg(server.url("/x"))
            .run()
            .assert_code(0);
    }
    assert_eq!((server.requests().len(), proxy.requests().len()), (2, 0));
    fetch_through([("all_proxy", proxy.url("").as_str())]).arg(server.url("/x")).run().assert_code(0);
    assert_eq!((server.requests().len(), proxy.requests().len()), (2, 1));
}

#[test]
fn a_socks_url_means_socks5() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).unwrap();
        stream.read_exact(&mut vec![0; greeting[1].into()]).unwrap();
        stream.write_all(&[5, 0]).unwrap();
        let mut wanted = [0; 10];
        stream.read_exact(&mut wanted).unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nthru").unwrap();
        (greeting[0], wanted)
    });
    let mut tdl = fetch_through([("all_proxy", format!("socks://{address}").as_str())]).arg("http://127.0.0.9/x");
    tdl.run().assert_code(0);
    assert_eq!(tdl.read("x"), b"thru");
    assert_eq!(serving.join().unwrap(), (5, [5, 1, 0, 1, 127, 0, 0, 9, 0, 80]));
}

#[test]
fn a_refused_tunnel_is_retried_only_if_the_status_is_temporary() {
    for (status, code) in [(403, 1), (407, 1), (404, 1), (408, 75), (429, 75), (500, 75), (503, 75)] {
        let response = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
        let proxy = Server::start(move |_| Reply::raw(response.clone()));
        let variables = [("https_proxy", proxy.url("").replace("://", "://user:secret@"))];
        let tdl = fetch_through(variables.each_ref().map(|(name, value)| (*name, value.as_str())));
        let output = tdl.args(["https://nosuch.invalid/x", "--retries=1"]).run().assert_code(code);
        let message = format!("/x: failed: the proxy refused the connection with status {status}");
        assert!(output.stderr.contains(&message), "{}", output.stderr);
        assert_eq!(output.stderr.contains("retrying"), code == 75, "{}", output.stderr);
        assert_eq!(output.stderr.contains("put the credentials in the proxy URL"), status == 407, "{}", output.stderr);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
        let requests = proxy.requests();
        for request in &requests {
            assert_eq!(request.target, "nosuch.invalid:443");
            assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
        }
        // A second request learns the status, which reqwest does not report.
        assert_eq!(requests.len(), if status == 407 { 1 } else { 2 } * if code == 75 { 2 } else { 1 });
    }
}

#[test]
fn a_broken_tunnel_is_temporary() {
    for response in ["", "HTTP/1.1 200 OK\r\n\r\n", "no http\r\n\r\n"] {
        let proxy = Server::start(move |_| Reply::raw(response));
        let tdl = fetch_through([("https_proxy", proxy.url("").as_str())]);
        tdl.args(["https://nosuch.invalid/x", "--retries=0"]).run().assert_code(75);
    }
}
