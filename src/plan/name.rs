//! Turns the last path segment of a URL into a safe file name. The result is the same on every platform, even if the
//! platform would allow more. The plan numbers equal names.

use std::borrow::Cow;
use std::fmt;

use crate::text::{SharedText, is_hidden};
use crate::url::{WebUrl, percent_decode};

/// The maximum length of a name in bytes. File systems allow 255, of which `.part.new.json.kept` and a number of up to
/// ten digits need 30.
const MAX_NAME: usize = 225;

/// Anything longer after the last dot is not treated as an extension.
const MAX_EXTENSION: usize = 16;

/// The suffix of part files.
pub(super) const PART_SUFFIX: &str = ".part";

/// The directory, beside the targets, where `--compare` keeps the files of its first run.
pub const COMPARE_DIRECTORY: &str = ".tdl-compare";

/// The suffixes of files that tdl itself writes beside a target. `.kept` may follow.
const RESERVED_SUFFIXES: [&str; 7] =
    [PART_SUFFIX, ".part.json", ".part.tmp", ".part.kept", ".part.new", ".part.new.json", ".part.new.tmp"];

/// A file name that is a single path component on every platform.
///
/// It has no separator, no hidden character, none of `< > : " | ? *`, no trailing dot or space, and at most 225 bytes
/// before a number. It is not `.`, `..`, the name of a Windows device, or that of a part file or sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SafeName(SharedText);

impl SafeName {
    /// Derives a name from the URL's last path segment, decoded once and made safe, or `index.html` if that is empty.
    #[must_use]
    pub fn from_url(url: &WebUrl) -> Self {
        let segment = url.last_segment();
        // Most names are safe already, and need no memory of their own.
        if is_safe(segment) {
            return Self(url.shared_last_segment());
        }
        Self::sanitized(percent_decode(segment))
    }

    /// Derives a name from one that a server chose, or `index.html` if nothing is left of it. Leading dots are removed:
    /// no server may create a hidden file, such as `.profile`.
    pub(crate) fn from_server(name: &str) -> Self {
        Self::sanitized(name.trim_start_matches(['.', ' ']).to_owned())
    }

    /// Accepts a name chosen by the user, or returns `None` if it is unsafe. Only reserved names are changed: `x.part`
    /// becomes `x.part_`, as it does for a URL.
    #[must_use]
    pub fn from_user(name: &str) -> Option<Self> {
        let safe = Self::sanitized(name.to_owned());
        let is_unchanged = &*safe.0 == name;
        let has_suffix_added = is_reserved(name) && safe.0.strip_suffix('_') == Some(name);
        (is_unchanged || has_suffix_added).then_some(safe)
    }

    /// Turns any text into a safe name.
    pub(super) fn sanitized(text: String) -> Self {
        if is_safe(&text) {
            return Self(text.into());
        }
        let mut name: String = text.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
        // One repair can require another: shortening may leave a device name or trailing spaces.
        loop {
            let repaired = repaired(&name);
            if repaired == name {
                return Self(name.into());
            }
            name = repaired;
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Inserts a safe text before the last extension of a safe name: `name-2.ext`.
    pub(super) fn with_suffix(name: &str, suffix: &str) -> String {
        let (stem, extension) = split_extension(name);
        format!("{stem}{suffix}{extension}")
    }

    pub(super) fn into_text(self) -> SharedText {
        self.0
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) const fn is_unsafe(c: char) -> bool {
    is_hidden(c) || matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// Whether Windows treats the name as a device. It ignores the extension.
pub(super) fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if stem.len() > "CONOUT$".len() {
        return false;
    }
    let stem = stem.to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    port.is_some_and(|number| {
        matches!(number, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
    })
}

/// Whether tdl itself may write a file with this name beside a target.
fn is_reserved(name: &str) -> bool {
    let name = fold_case(name);
    let name = name.strip_suffix(".kept").unwrap_or(&name);
    name == COMPARE_DIRECTORY || RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// If this is the [folded](fold_case) name of a part file, of a sidecar or the like, returns that of its target.
pub(super) fn target_of(folded: &str) -> Option<&str> {
    RESERVED_SUFFIXES.iter().find_map(|suffix| folded.strip_suffix(suffix))
}

/// Removes differences in case, which a file system may ignore.
pub(super) fn fold_case(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return name.into();
    }
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        // Character by character, because `str::to_lowercase` maps a final sigma differently from other sigmas.
        match c {
            '\0'..='\x7f' => folded.push(c.to_ascii_lowercase()),
            _ => folded.extend(c.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    folded.into()
}

/// Fixes one problem with a name whose unsafe characters have been replaced.
fn repaired(name: &str) -> String {
    let name = shortened(trimmed(name));
    if name.is_empty() {
        "index.html".to_owned()
    } else if is_device(&name) {
        format!("_{name}")
    } else if is_reserved(&name) {
        format!("{name}_")
    } else {
        name
    }
}

/// Whether a text is certainly a safe name. False for some safe names that are longer to check.
fn is_safe(text: &str) -> bool {
    is_plain(text) && !is_device(text) && !is_reserved(text)
}

/// Whether a text is short, has only characters that are safe on all platforms, and does not end in a dot.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_NAME).contains(&text.len()) && !text.ends_with('.') && text.bytes().all(is_plain)
}

/// Removes trailing dots and spaces, which Windows would drop.
fn trimmed(name: &str) -> &str {
    name.trim_end_matches(['.', ' '])
}

/// Shortens a long name, at a character boundary before its extension.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let max_stem = MAX_NAME - extension.len();
    let end = (0..=max_stem).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or_default();
    format!("{}{extension}", &stem[..end])
}

/// Splits a name into stem and last extension, which includes its dot. A leading dot does not start an extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= MAX_EXTENSION => name.split_at(at),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(url: &str) -> String {
        SafeName::from_url(&WebUrl::parse(url).unwrap()).to_string()
    }

    #[test]
    fn names_from_urls() {
        for (url, expected) in [
            ("http://h/data/set.csv", "set.csv"),
            ("http://h/a%20b.txt?version=2#top", "a b.txt"),
            ("http://h", "index.html"),
            ("http://h/dir/", "index.html"),
            ("http://h/caf%C3%A9.txt", "café.txt"),
            ("http://h/caf%E9.txt", "caf%E9.txt"),
            ("http://h/%2e%2e%2f%2e%2e%2fx", ".._.._x"),
            ("http://h/a/..%2f", ".._"),
            ("http://h/a%00b", "a_b"),
            ("http://h/%1b%5b2Jx", "_[2Jx"),
            ("http://h/%E2%80%AEgpj.exe", "_gpj.exe"),
            ("http://h/a:b|c%3C%3E%22%2A%3F", "a_b_c_____"),
            ("http://h/NUL.tar.gz", "_NUL.tar.gz"),
            ("http://h/com1", "_com1"),
            ("http://h/COM%C2%B2.txt", "_COM².txt"),
            ("http://h/aux%20.txt", "_aux .txt"),
            ("http://h/console.txt", "console.txt"),
            ("http://h/end.%20.", "end"),
            ("http://h/%20%20", "index.html"),
            ("http://h/%252e%252e", "%2e%2e"),
            ("http://h/.bashrc", ".bashrc"),
            ("http://h/x.part", "x.part_"),
            ("http://h/x.PART.Json", "x.PART.Json_"),
            ("http://h/x.part%20.", "x.part_"),
            ("http://h/.part", ".part_"),
            ("http://h/x.part_", "x.part_"),
            ("http://h/x.part1.rar", "x.part1.rar"),
            ("http://h/a.part.b.json", "a.part.b.json"),
            ("http://h/part", "part"),
            ("http://h/.TDL-compare", ".TDL-compare_"),
        ] {
            assert_eq!(name(url), expected, "{url}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let short = name(&format!("http://h/{}.tar.gz", "é".repeat(200)));
        assert!(short.len() <= MAX_NAME && short.ends_with("é.gz"), "{short}");
        let without_extension = name(&format!("http://h/{}", "x".repeat(400)));
        assert_eq!(without_extension.len(), MAX_NAME);
        assert_eq!(name(&format!("http://h/{}x", "%20".repeat(300))), "index.html");
        assert_eq!(name(&format!("http://h/CON{}x", "%20".repeat(300))), "_CON");
        assert_eq!(name(&format!("http://h/CON{}.x", "%20".repeat(221))).len(), MAX_NAME);
        let long_extension = name(&format!("http://h/a.{}", "x".repeat(400)));
        assert_eq!(long_extension.len(), MAX_NAME);
    }

    #[test]
    fn numbers_go_before_the_last_extension() {
        for (name, numbered) in [("a.txt", "a-2.txt"), ("a.tar.gz", "a.tar-2.gz"), ("a", "a-2"), (".rc", ".rc-2")] {
            assert_eq!(SafeName::with_suffix(name, "-2"), numbered);
        }
    }

    #[test]
    fn a_users_name_is_accepted_unchanged_or_refused() {
        assert_eq!(SafeName::from_user("a b.txt").unwrap().as_str(), "a b.txt");
        for bad in ["", ".", "..", "a/b", "a\\b", "con", "x.", "a\nb"] {
            assert_eq!(SafeName::from_user(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_servers_name_is_made_safe_and_visible() {
        for (name, safe) in [
            ("data.csv", "data.csv"),
            (".profile", "profile"),
            (" .. .x", "x"),
            (".part", "part"),
            ("x.part", "x.part_"),
            ("..", "index.html"),
            ("", "index.html"),
            ("CON.txt", "_CON.txt"),
            ("a\u{202e}\0b:c?", "a__b_c_"),
        ] {
            assert_eq!(SafeName::from_server(name).as_str(), safe, "{name:?}");
        }
        let long = SafeName::from_server(&format!("{}.csv", "é".repeat(5000)));
        assert!(long.as_str().len() <= MAX_NAME && long.as_str().ends_with("é.csv"), "{long}");
    }

    #[test]
    fn reserved_names_get_a_suffix() {
        let all = ["", ".json", ".tmp", ".kept", ".new", ".new.json", ".new.tmp"];
        for suffix in all.iter().flat_map(|suffix| [format!("x.part{suffix}"), format!("x.part{suffix}.kept")]) {
            for name in [suffix.clone(), suffix.to_uppercase()] {
                assert_eq!(SafeName::from_user(&name).unwrap().as_str(), format!("{name}_"));
            }
        }
        // Some file systems fold these letters to s and k.
        assert_eq!(SafeName::from_user("x.part.j\u{17f}on").unwrap().as_str(), "x.part.j\u{17f}on_");
        assert_eq!(SafeName::from_user("x.part.\u{212a}ept").unwrap().as_str(), "x.part.\u{212a}ept_");
        let long = name(&format!("http://h/{}.part", "x".repeat(400)));
        assert!(long.len() == MAX_NAME && long.ends_with("x.part_"), "{long}");
        let device = name(&format!("http://h/CON{}x.part", "%20".repeat(MAX_NAME - "CONx.part".len())));
        assert!(device.len() == MAX_NAME && device.starts_with("_CON ") && device.ends_with(" .part_"), "{device}");
    }

    proptest! {
        #[test]
        fn every_url_gives_one_safe_component(start in "(CON|nul|x)?", filler in "(%20|%2e|\\.| ){0,300}", tail in "(?s).{0,300}", end in "(\\.part|\\.json|\\.tmp|\\.kept|\\.new|\\.PART|-2|x){0,4}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            for text in [
                format!("http://h/{start}{filler}{tail}"), format!("http://h/{start}{filler}x{end}"), format!("http://h/{end}"),
                format!("http://h/{start}{filler}x.{filler}"),
                format!("http://h/{encoded}"), format!("http://h/{encoded}{tail}"), format!("http://h/{tail}")] {
                let Ok(url) = WebUrl::parse(&text) else { continue };
                let name = SafeName::from_url(&url);
                let text = name.as_str();
                prop_assert!(!text.is_empty() && text.len() <= MAX_NAME);
                prop_assert!(text != "." && text != "..");
                prop_assert!(!text.chars().any(is_unsafe), "{text:?}");
                prop_assert!(!text.ends_with(['.', ' ']) && !is_device(text) && !is_reserved(text));
                prop_assert_eq!(std::path::Path::new(text).components().count(), 1);
                // A safe name is not changed again, so every run uses the same one.
                let again = SafeName::from_user(text);
                prop_assert_eq!(again.as_ref(), Some(&name));
                let numbered = SafeName::with_suffix(text, "-9999999999");
                prop_assert!(numbered.len() + ".part.new.json.kept".len() <= 255);
                prop_assert!(!is_reserved(&numbered), "{numbered}");
            }
        }
    }
}
