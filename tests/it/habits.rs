//! What people type who know curl, wget and aria2.

use crate::command::{Tdl, fetch};
use crate::server::Server;

#[test]
fn fetch_may_be_left_out() {
    let server = Server::echo();
    for arguments in
        [&["URL", "-o", "out"][..], &["-o", "out", "URL"], &["-i", "urls.txt", "-o", "out"], &["-v", "-oout", "URL"]]
    {
        let url = server.url("/x");
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.replace("URL", &url)).collect();
        let mut tdl = Tdl::new(&[]).args(arguments).file("urls.txt", &url);
        tdl.run().assert_code(0);
        assert_eq!(tdl.names(), ["x"]);
    }
}

#[test]
fn help_is_a_command() {
    let help = |arguments: &[&str]| Tdl::new(arguments).run().assert_code(0).stdout;
    assert_eq!(help(&["help"]), help(&["--help"]));
    assert_eq!(help(&["help", "fetch"]), help(&["fetch", "--help"]));
}

#[test]
fn options_of_other_programs_are_met_with_what_does_it() {
    for (option, message) in [
        ("-d", "error: tdl has no -d: -o DIR saves files in a directory\n"),
        ("-x16", "error: tdl needs no -x: the number of connections is found by trying; "),
        ("-c", "error: tdl needs no -c: what an interrupted run has left is resumed\n"),
        ("--continue=true", "error: tdl needs no --continue: "),
        ("-k", "error: tdl has no -k: --insecure accepts any certificate\n"),
        ("-L", "error: tdl needs no -L: redirects are followed"),
        ("-N", "error: tdl has no -N: --if-exists update fetches what has changed\n"),
        ("--user-agent=me", "error: tdl has no --user-agent: -H 'User-Agent: NAME' sets it\n"),
        ("--limit-rate", "error: tdl has no --limit-rate: "),
        ("--threads", "error: tdl has no --threads: -j N limits the number of threads\n"),
    ] {
        let output = Tdl::new(&[option, "http://127.0.0.1:9/x"]).run().assert_code(2);
        assert!(output.stderr.starts_with(message), "{option}: {}", output.stderr);
    }
    let output = Tdl::new(&["--no-such-option", "http://127.0.0.1:9/x"]).run().assert_code(2);
    assert!(output.stderr.starts_with("error: unexpected argument '--no-such-option' found\n"), "{}", output.stderr);
}

#[test]
fn a_file_name_in_place_of_the_directory_is_a_slip() {
    let server = Server::echo();
    let refused = |tdl: Tdl| {
        let output = { tdl }.run().assert_code(2);
        let message =
            "error: -o new.iso is a directory; to name the file use -O new.iso; to make the directory write new.iso/\n";
        assert_eq!(output.stderr, message);
    };
    let accepted = |tdl: Tdl| drop({ tdl }.run().assert_code(0));
    let tdl = |directory: &str, path: &str| Tdl::new(&["-o", directory]).arg(server.url(path));
    refused(tdl("new.iso", "/old.iso"));
    refused(tdl("new.iso", "/old.ISO?v=1"));
    accepted(tdl("new.iso/", "/old.iso"));
    accepted(tdl("new.iso", "/old.img"));
    accepted(tdl("new", "/old.iso"));
    accepted(tdl("new.iso", "/old.iso").file("new.iso/there", ""));
    accepted(tdl("new.iso", "/old.iso").arg(server.url("/other.iso")));
    accepted(fetch().args(["-O", "new.iso", &server.url("/old.iso")]));
}
