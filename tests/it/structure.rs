//! The plan of the house: which room may look into which, and what each never knows.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and those it may import from. The order is the way of a URL; nothing looks back.
const ROOMS: [(&str, &[&str]); 12] = [
    ("text", &[]),
    ("url", &["text"]),
    ("options", &[]),
    ("error", &["text", "url"]),
    ("plan", &["text", "url"]),
    ("http", &["error", "options", "url"]),
    ("part", &["error", "text", "url", "http"]),
    ("run", &["error", "options", "url", "plan", "http", "part"]),
    ("measure", &["error", "options", "plan", "part", "run"]),
    ("report", &["error", "options", "text", "plan", "http", "run", "measure"]),
    ("cli", &["measure", "error", "options", "text", "url", "plan", "http", "part", "run", "report"]),
    ("main", &["cli"]),
];

/// What only one room may name, and where in that room.
const SECRETS: [(&str, &str); 13] = [
    ("reqwest", "src/http/"),
    ("hyper::", "src/http/"),
    ("hyper_util", "src/http/"),
    ("rustls", "src/http/client.rs"),
    ("tokio", "src/http/"),
    ("dns_lookup", "src/http/resolver.rs"),
    ("indicatif", "src/report/bars.rs"),
    ("console::", "src/report/bars.rs"),
    ("io::stdout", "src/report/streams.rs"),
    ("io::stderr", "src/report/streams.rs"),
    ("clap::", "src/cli/"),
    ("anyhow", "src/cli/"),
    ("windows_sys", "src/part/platform.rs"),
];

/// Files that know no clock, no chance, no file and no socket.
const PURE: [&str; 16] = [
    "src/plan/",
    "src/http/redirect.rs",
    "src/http/content_range.rs",
    "src/http/retry_after.rs",
    "src/http/validator.rs",
    "src/part/meter.rs",
    "src/part/owner.rs",
    "src/part/segments.rs",
    "src/part/ranges.rs",
    "src/part/sidecar.rs",
    "src/run/pace.rs",
    "src/run/queue.rs",
    "src/run/resuming.rs",
    "src/run/retry.rs",
    "src/run/outcome.rs",
    "src/text.rs",
];

const IMPURE: [&str; 7] =
    ["Instant::now", "SystemTime::now", "std::fs", "std::net", "std::env", "fastrand", "std::thread"];

/// The sources with their paths from the root, without their tests and comments.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        (name, lines.join("\n"))
    };
    files.into_iter().map(read).collect()
}

/// `src/run/queue.rs` is in `run`, `src/url.rs` in `url`.
fn room(path: &str) -> &str {
    path["src/".len()..].split(['/', '.']).next().unwrap()
}

#[test]
fn imports_run_one_way() {
    for (path, code) in sources() {
        let here = room(&path);
        if here == "lib" {
            continue;
        }
        let (_, allowed) = ROOMS.iter().find(|(room, _)| *room == here).unwrap_or_else(|| panic!("a new room: {here}"));
        // In the binary the crate is named, in the library it is `crate`.
        let crate_name = if here == "main" { "tdl::" } else { "crate::" };
        for (at, _) in code.match_indices(crate_name) {
            let there = code[at + crate_name.len()..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            assert!(!there.is_empty(), "{path}: name one room in each import");
            assert!(there == here || allowed.contains(&there), "{path} must not look into {there}");
        }
    }
}

#[test]
fn what_one_room_keeps_no_other_names() {
    for (path, code) in sources() {
        for (secret, keeper) in SECRETS {
            assert!(path.starts_with(keeper) || !code.contains(secret), "{path} must not know {secret}");
        }
    }
}

#[test]
fn what_is_pure_asks_nobody() {
    for (path, code) in sources().iter().filter(|(path, _)| PURE.iter().any(|pure| path.starts_with(pure))) {
        for impure in IMPURE {
            assert!(!code.contains(impure), "{path} must not know {impure}");
        }
    }
}

#[test]
fn a_file_is_one_idea() {
    for (path, code) in sources() {
        let lines = code.lines().count();
        assert!(lines <= 400, "{path} has {lines} lines: two ideas?");
    }
}
