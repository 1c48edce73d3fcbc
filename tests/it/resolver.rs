//! Host names that cannot be resolved. Ignored by default, as they need root: `tdl` runs in private mount and network
//! namespaces with another resolver configuration.

use std::net::UdpSocket;
use std::time::Instant;

use crate::command::{Output, fetch};
use crate::server::TIMEOUT;

const URL: &str = "http://nosuch.invalid/x";

/// Runs `tdl fetch` of one URL in new namespaces with this `nsswitch.conf` and `resolv.conf`.
fn fetch_with(nsswitch: &str, resolv: &str, namespaces: &[&str], arguments: &[&str]) -> Output {
    let script = "mount --bind nsswitch.conf /etc/nsswitch.conf && mount --bind resolv.conf /etc/resolv.conf && \
                  exec \"$0\" \"$@\"";
    fetch()
        .arg(URL)
        .args(arguments)
        .file("nsswitch.conf", nsswitch)
        .file("resolv.conf", resolv)
        .under("unshare")
        .prefix_args(&[namespaces, &["bash", "-c", script]].concat())
        .run()
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn a_host_that_does_not_exist_is_not_retried() {
    let output = fetch_with("hosts: files\n", "", &["--mount", "--net"], &[]).assert_code(1);
    let message = "http://nosuch.invalid/x: failed: the host name does not exist: nosuch.invalid: ";
    assert!(
        output.stderr.contains(message) && output.stderr.contains("; is it spelled correctly?\n"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("retrying"), "{}", output.stderr);
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn a_silent_name_server_is_a_temporary_failure() {
    let resolv = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    let output = fetch_with("hosts: dns\n", resolv, &["--mount", "--net"], &["--retries=1"]).assert_code(75);
    assert!(output.stderr.contains("/x: retrying in "), "{}", output.stderr);
    assert!(
        output.stderr.contains("failed: the host name could not be resolved: nosuch.invalid: "),
        "{}",
        output.stderr
    );
}

#[test]
#[ignore = "needs root, to make namespaces and to be a name server"]
fn a_stuck_lookup_does_not_keep_the_process_alive() {
    // It receives queries and never answers.
    let server = UdpSocket::bind("127.77.1.53:53").unwrap();
    let resolv = "nameserver 127.77.1.53\noptions timeout:30 attempts:5\n";
    let started = Instant::now();
    let arguments = ["--connect-timeout=500ms", "--retries=0"];
    let output = fetch_with("hosts: dns\n", resolv, &["--mount"], &arguments).assert_code(75);
    assert!(started.elapsed() < TIMEOUT, "{:?}: {output:?}", started.elapsed());
    assert!(output.stderr.contains("failed: could not connect within 500ms"), "{}", output.stderr);
    server.set_nonblocking(true).unwrap();
    assert!(server.recv(&mut [0; 512]).is_ok(), "the name server was asked");
}
