//! The layout of the source tree: which folder may import which, what only one of them may name, and which files are
//! pure.

use std::fs;
use std::path::{Path, PathBuf};

use imports::{Sources, circles, folder};

mod imports;
mod rules;
mod source;

/// Each folder, bottom to top, and the folders that it may import. `lib.rs`, at the very top, may import all of them.
const LAYERS: [(&str, &[&str]); 13] = [
    ("digest", &[]),
    ("text", &[]),
    ("url", &["text"]),
    ("options", &[]),
    ("error", &["text", "url"]),
    ("plan", &["digest", "error", "options", "text", "url"]),
    ("http", &["error", "options", "url"]),
    ("part", &["digest", "error", "text", "url", "http"]),
    ("run", &["digest", "error", "options", "url", "plan", "http", "part"]),
    ("measure", &["error", "options", "plan", "part", "run"]),
    ("report", &["error", "options", "text", "url", "plan", "http", "run", "measure"]),
    ("cli", &["measure", "error", "options", "text", "url", "plan", "http", "part", "run", "report"]),
    ("main", &["cli"]),
];

/// What only one folder or file may name.
const CONFINED: [(&str, &str); 12] = [
    ("reqwest", "src/http/"),
    ("hyper", "src/http/"),
    ("hyper_util", "src/http/"),
    ("rustls", "src/http/"),
    ("tokio", "src/http/"),
    ("dns_lookup", "src/http/resolver.rs"),
    ("console", "src/report/"),
    ("std::io::stdout", "src/report/streams.rs"),
    ("std::io::stderr", "src/report/streams.rs"),
    ("clap", "src/cli/"),
    ("anyhow", "src/cli/"),
    ("windows_sys", "src/part/platform/"),
];

/// Folders and files that use no clock, randomness, file or socket.
const PURE: [&str; 30] = [
    "src/digest.rs",
    "src/plan/",
    "src/http/content_disposition.rs",
    "src/http/redirect.rs",
    "src/http/headers.rs",
    "src/http/request.rs",
    "src/http/content_range.rs",
    "src/http/retry_after.rs",
    "src/http/validator.rs",
    "src/part/active.rs",
    "src/part/claim.rs",
    "src/part/meter.rs",
    "src/part/owner.rs",
    "src/part/paths.rs",
    "src/part/segments.rs",
    "src/part/ranges.rs",
    "src/part/sidecar.rs",
    "src/report/places.rs",
    "src/report/view.rs",
    "src/run/claimed_names.rs",
    "src/run/existing.rs",
    "src/run/outcome.rs",
    "src/run/resume_policy.rs",
    "src/run/retry.rs",
    "src/run/schedule/host.rs",
    "src/run/schedule/limiter/",
    "src/run/schedule/permit.rs",
    "src/run/schedule/queue.rs",
    "src/run/schedule/waiting.rs",
    "src/text/",
];

/// What a pure file may not name.
const IMPURE: [&str; 10] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "fastrand",
    "rustix",
    "tokio",
];

/// Methods that read the clock or the file system, whatever they are called on.
const IMPURE_METHODS: [&str; 9] = [
    "elapsed",
    "exists",
    "try_exists",
    "is_file",
    "is_dir",
    "metadata",
    "symlink_metadata",
    "canonicalize",
    "read_dir",
];

const MAX_LINES: usize = 400;

/// The text of each source file, by its path from the package's root.
fn files() -> Vec<(String, String)> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        (name, fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn sources(files: &[(String, String)]) -> Sources {
    Sources::new(files.iter().map(|(file, code)| (file.as_str(), code.as_str())))
}

#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Whether a path or a name begins with a row of a table, at a boundary.
fn is_within(name: &str, row: &str) -> bool {
    name.strip_prefix(row).is_some_and(|rest| rest.is_empty() || row.ends_with('/') || rest.starts_with("::"))
}

#[test]
fn folders_import_only_folders_below_them() {
    let mut problems = Vec::new();
    for import in sources(&files()).imports() {
        let here = folder(&import.from);
        if here == "lib" {
            continue;
        }
        let (_, allowed) = LAYERS.iter().find(|(folder, _)| *folder == here).unwrap_or_else(|| panic!("add {here}"));
        let is_allowed = |there: &str| there == here || allowed.contains(&there);
        let wrong = import.folders.iter().filter(|there| !is_allowed(there));
        problems.extend(wrong.map(|there| format!("{} imports {there}: {}", import.from, import.path)));
    }
    assert_none(&problems);
}

#[test]
fn files_do_not_import_each_other() {
    assert_none(&circles(&sources(&files()).imports()));
}

#[test]
fn what_is_confined_is_named_in_one_place() {
    let files = files();
    let mut problems = Vec::new();
    for (file, names) in sources(&files).foreign_names() {
        for (confined, place) in CONFINED.iter().filter(|(_, place)| !is_within(file, place)) {
            let wrong = names.iter().filter(|name| is_within(name, confined));
            problems.extend(wrong.map(|name| format!("{file} names {name}, which is for {place}")));
        }
    }
    assert_none(&problems);
}

#[test]
fn pure_files_use_no_clock_randomness_file_or_socket() {
    let files = files();
    let sources = sources(&files);
    let is_pure = |file: &str| PURE.iter().any(|pure| is_within(file, pure));
    let mut problems = Vec::new();
    for (file, names) in sources.foreign_names().into_iter().filter(|(file, _)| is_pure(file)) {
        let wrong = names.iter().filter(|name| IMPURE.iter().any(|impure| is_within(name, impure)));
        problems.extend(wrong.map(|name| format!("{file} names {name}")));
    }
    let calls = sources.methods().filter(|(file, method)| is_pure(file) && IMPURE_METHODS.contains(method));
    problems.extend(calls.map(|(file, method)| format!("{file} calls .{method}()")));
    assert_none(&problems);
}

#[test]
fn files_are_short() {
    let mut problems = Vec::new();
    for (file, code) in files() {
        let tests = code.lines().collect::<Vec<_>>().windows(2).position(|pair| is_test_module(pair[0], pair[1]));
        let lines = tests.unwrap_or_else(|| code.lines().count());
        if lines > MAX_LINES {
            problems.push(format!("{file} has {lines} lines before its tests: should it be split?"));
        }
    }
    assert_none(&problems);
}

fn is_test_module(line: &str, next: &str) -> bool {
    line == "#[cfg(test)]" && next.starts_with("mod ")
}

#[test]
fn every_row_of_the_tables_names_something_that_exists() {
    let files = files();
    let places = PURE.iter().chain(CONFINED.iter().map(|(_, place)| place));
    let unknown = places.filter(|place| !files.iter().any(|(file, _)| is_within(file, place)));
    let mut problems: Vec<_> = unknown.map(|place| format!("{place} does not exist")).collect();
    let folders =
        LAYERS.iter().map(|(name, _)| name).filter(|name| !files.iter().any(|(file, _)| folder(file) == **name));
    problems.extend(folders.map(|name| format!("the folder {name} does not exist")));
    assert_none(&problems);
}
