//! The limit on open files, which a long list of hosts must not reach, and which costs no file where it is reached.

use crate::command::{Tdl, fetch_as};
use crate::server::{Reply, Server};

fn fetch() -> Tdl {
    fetch_as(module_path!())
}

#[test]
fn more_hosts_than_files_may_be_open_give_every_file() {
    const HOSTS: usize = 400;
    // Each host has connections of its own, although all lead to one proxy.
    let proxy = Server::start(|request| Reply::ok(request.target.clone()));
    let urls = (0..HOSTS).map(|number| format!("http://host{number}.test/{number}"));
    let mut tdl = fetch().args(urls).under("bash");
    tdl = tdl.prefix_args(&["-c", "ulimit -n 128 && exec \"$0\" \"$@\""]).envs([("http_proxy", &proxy.url(""))]);
    let ended = tdl.run().with(0);
    assert_eq!(tdl.names().len(), HOSTS);
    assert_eq!(proxy.requests().len(), HOSTS, "nothing was tried again: {}", ended.stderr);
}

#[test]
#[ignore = "needs strace"]
fn too_many_open_files_is_temporary() {
    // The first sockets, and then the first part files, cannot be opened.
    for (call, paths) in [("socket", None), ("openat", Some(["-P", "out/0.part", "-P", "out/0.part.json"]))] {
        let server = Server::start(|request| match request.target.as_str() {
            "/0" => Reply::ok(vec![7; 100_000]),
            target => Reply::ok(target),
        });
        let urls = (0..20).map(|number| server.url(&format!("/{number}")));
        let inject = format!("inject={call}:error=EMFILE:when=1..2");
        let mut arguments = vec!["-f", "-o", "trace", "-e", &inject];
        arguments.extend(paths.into_iter().flatten());
        let mut tdl = fetch().args(urls).under("strace").prefix_args(&arguments);
        let ended = tdl.run().with(0);
        assert!(ended.stderr.contains("oo many open files"), "{call}: {}", ended.stderr);
        assert_eq!(tdl.names().len(), 20, "{call}");
    }
}
