//! Snapshots of `--help`: a change of it is visible to users, so it must be made on purpose.

use crate::command::Tdl;

#[test]
fn help_matches_its_snapshot() {
    insta::assert_snapshot!("tdl", Tdl::new(&["--help"]).run().assert_code(0).stdout);
    insta::assert_snapshot!("tdl-fetch", Tdl::new(&["fetch", "--help"]).run().assert_code(0).stdout);
    let version = Tdl::new(&["--version"]).run().assert_code(0).stdout;
    assert_eq!(version, concat!("tdl ", env!("CARGO_PKG_VERSION"), "\n"));
}
