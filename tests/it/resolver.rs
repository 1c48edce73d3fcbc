//! Names that have no address. Ignored where one may not be root: these run tdl with a resolver of their own, in private
//! namespaces of mounts and of the network.

use std::time::{Duration, Instant};

use crate::command::{Ended, fetch};

/// Runs `tdl fetch` where `nsswitch.conf` and `resolv.conf` are these, and where no network is.
fn fetch_with(nsswitch: &str, resolv: &str, url: &str) -> Ended {
    let script = "mount --bind nsswitch.conf /etc/nsswitch.conf && mount --bind resolv.conf /etc/resolv.conf && \
                  exec \"$0\" \"$@\"";
    fetch()
        .args([url, "--retries=1"])
        .file("nsswitch.conf", nsswitch)
        .file("resolv.conf", resolv)
        .under("unshare")
        .prefix_args(&["--mount", "--net", "bash", "-c", script])
        .run()
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn a_host_that_does_not_exist_is_not_asked_for_again() {
    let begun = Instant::now();
    let ended = fetch_with("hosts: files\n", "", "http://nosuch.invalid/x").with(1);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let message = "http://nosuch.invalid/x: failed: the host name does not exist: nosuch.invalid: ";
    assert!(ended.stderr.contains(message) && ended.stderr.contains("; is it spelled right?\n"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn a_name_server_that_does_not_answer_may_answer_later() {
    let resolv = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    let ended = fetch_with("hosts: dns\n", resolv, "http://nosuch.invalid/x").with(75);
    assert!(ended.stderr.contains("/x: trying again in "), "{}", ended.stderr);
    assert!(ended.stderr.contains("failed: the host name could not be resolved: nosuch.invalid: "), "{}", ended.stderr);
}
