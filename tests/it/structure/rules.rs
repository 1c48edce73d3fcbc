//! How imports are read and followed, on small crates.

use super::imports::{Sources, circles};

fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    circles(&Sources::new(files.iter().copied()).imports())
}

#[test]
fn a_parent_whose_function_a_child_uses_is_in_a_circle_with_it() {
    let found = circles_of(&[
        ("src/lib.rs", "pub mod part;"),
        ("src/part/mod.rs", "mod open; pub use open::Existing; fn disk() {}"),
        ("src/part/open.rs", "use super::disk; pub struct Existing;"),
    ]);
    assert_eq!(
        found,
        ["src/part/mod.rs (open::Existing) -> src/part/open.rs (super::disk) -> src/part/mod.rs".to_owned()]
    );
}

#[test]
fn a_parent_that_only_re_exports_is_in_no_circle() {
    let found = circles_of(&[
        ("src/lib.rs", "pub mod part; pub mod run; pub use part::disk;"),
        ("src/part/mod.rs", "mod files; mod open; pub use files::disk; pub use open::Existing;"),
        ("src/part/files.rs", "pub fn disk() {}"),
        ("src/part/open.rs", "use super::disk; pub struct Existing;"),
        ("src/run/mod.rs", "mod engine; pub use engine::run;"),
        ("src/run/engine.rs", "use crate::{disk, part}; pub fn run(_: part::Existing) {}"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_circle_of_three_files_is_found_in_expressions_types_and_macros() {
    let found = circles_of(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "pub fn f() { crate::b::f() }"),
        ("src/b.rs", "use super::c; pub fn f() { println!(\"{}\", c::f()) }"),
        ("src/c.rs", "pub fn f() -> u8 { 0 } fn g(_: crate::a::T) {}"),
    ]);
    assert_eq!(found, Vec::<String>::new(), "nothing in a defines T");
    let found = circles_of(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "pub struct T; pub fn f() { crate::b::f() }"),
        ("src/b.rs", "use super::c; pub fn f() { println!(\"{}\", c::f()) }"),
        ("src/c.rs", "pub fn f() -> u8 { 0 } fn g(_: crate::a::T) {}"),
    ]);
    assert_eq!(found, ["src/a.rs (crate::b::f) -> src/b.rs (c::f) -> src/c.rs (crate::a::T) -> src/a.rs".to_owned()]);
}

#[test]
fn tests_comments_and_inline_modules_of_one_file_make_no_circle() {
    let found = circles_of(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "// crate::b::f\nuse imp::f; mod imp { pub use super::g; pub fn f() {} } pub fn g() {}"),
        ("src/b.rs", "use crate::a::g; use crate::c::h; pub fn f() { g() }"),
        ("src/c.rs", "pub fn h() {} #[cfg(test)] mod tests { use crate::b::f; } #[cfg(all(test, unix))] use crate::b;"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_function_and_a_module_may_share_a_name() {
    let found = circles_of(&[
        ("src/lib.rs", "mod cli;"),
        ("src/cli/mod.rs", "mod exit; mod fetch; fn exit() { fetch::fetch() }"),
        ("src/cli/exit.rs", "pub enum Exit {}"),
        ("src/cli/fetch.rs", "use super::exit::Exit; pub fn fetch() {}"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn globs_and_renamed_imports_are_followed() {
    let found = circles_of(&[
        ("src/lib.rs", "mod a; mod b; mod prelude;"),
        ("src/prelude.rs", "pub use crate::a::Thing as Renamed;"),
        ("src/a.rs", "pub struct Thing; use crate::b::f;"),
        ("src/b.rs", "use crate::prelude::*; pub fn f(_: Renamed) { Renamed::new() }"),
    ]);
    let circle = "src/a.rs (crate::b::f) -> src/b.rs (Renamed::new) -> src/a.rs";
    assert!(found.contains(&circle.to_owned()), "{found:?}");
}

#[test]
fn a_folder_that_is_named_on_the_way_counts_as_imported() {
    let files = [
        ("src/lib.rs", "mod options; mod part; mod run;"),
        ("src/options.rs", "pub struct Mode;"),
        ("src/run/mod.rs", "pub use crate::options::Mode;"),
        ("src/part/mod.rs", "use crate::run::Mode;"),
    ];
    let imports = Sources::new(files).imports();
    let import = imports.iter().find(|import| import.from == "src/part/mod.rs").unwrap();
    assert_eq!(import.files.iter().collect::<Vec<_>>(), ["src/options.rs"]);
    assert_eq!(import.folders.iter().collect::<Vec<_>>(), ["options", "run"]);
}

#[test]
fn names_of_other_crates_are_spelled_out() {
    let code = "use std::io; use std::time::Instant as Clock; #[derive(clap::Parser)] struct Args; \
                fn f() { io::stdout(); Clock::now(); assert!(fastrand::bool()); std::fs::read(\"\"); }";
    let sources = Sources::new([("src/lib.rs", code)]);
    let names = &sources.foreign_names()["src/lib.rs"];
    for name in ["std::io::stdout", "std::time::Instant::now", "clap::Parser", "fastrand::bool", "std::fs::read"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}
