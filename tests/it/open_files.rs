//! The limit on open files: a long list of hosts stays below it, and reaching it is a temporary failure.

use crate::command::fetch_in;
use crate::mode::{Mode, in_both_modes};
use crate::server::{Reply, Server};

in_both_modes!(more_hosts_than_open_files_allowed_give_every_file);
fn more_hosts_than_open_files_allowed_give_every_file(mode: Mode) {
    const HOSTS: usize = 400;
    // Connections are kept per host, although all lead to one proxy.
    let proxy = Server::start(|request| Reply::ok(request.target.clone()));
    let urls = (0..HOSTS).map(|number| format!("http://host{number}.test/{number}"));
    let mut tdl = fetch_in(mode).args(urls).under("bash");
    tdl = tdl.prefix_args(&["-c", "ulimit -n 128 && exec \"$0\" \"$@\""]).envs([("http_proxy", &proxy.url(""))]);
    let output = tdl.run().assert_code(0);
    assert_eq!(tdl.names().len(), HOSTS);
    assert_eq!(proxy.requests().len(), HOSTS, "nothing was tried again: {}", output.stderr);
}

in_both_modes!(
    #[ignore = "needs strace"]
    too_many_open_files_is_temporary
);
fn too_many_open_files_is_temporary(mode: Mode) {
    // First opening a socket fails, then opening a part file.
    for (call, paths) in [("socket", None), ("openat", Some(["-P", "out/0.part", "-P", "out/0.part.json"]))] {
        let server = Server::start(|request| match request.target.as_str() {
            "/0" => Reply::ok(vec![7; 100_000]),
            target => Reply::ok(target),
        });
        let urls = (0..20).map(|number| server.url(&format!("/{number}")));
        let inject = format!("inject={call}:error=EMFILE:when=1..2");
        let mut arguments = vec!["-f", "-o", "trace", "-e", &inject];
        arguments.extend(paths.into_iter().flatten());
        let mut tdl = fetch_in(mode).args(urls).under("strace").prefix_args(&arguments);
        let output = tdl.run().assert_code(0);
        assert!(output.stderr.contains("oo many open files"), "{call}: {}", output.stderr);
        assert_eq!(tdl.names().len(), 20, "{call}");
    }
}
