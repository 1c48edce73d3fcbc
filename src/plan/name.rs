//! One safe path component from whatever a URL names: the same on every platform, whatever the platform allows.

use std::fmt;

use crate::text::is_hidden;
use crate::url::{WebUrl, percent_decoded};

/// The longest name in bytes: a file system's 255 less `.part.new.json.kept` and a number of up to ten digits.
const LONGEST: usize = 225;

/// An extension longer than this is taken for a part of the name.
const LONGEST_EXTENSION: usize = 16;

/// What a part file's name ends with.
const PART: &str = ".part";

/// The directory in which a comparison keeps the files of its first run, beside the targets.
pub const COMPARISONS: &str = ".tdl-compare";

/// What the names end with that tdl itself may write beside a target; a `.kept` may follow.
const RESERVED: [&str; 7] =
    [PART, ".part.json", ".part.tmp", ".part.kept", ".part.new", ".part.new.json", ".part.new.tmp"];

/// A file name that stays where it is put: no separator, no hidden character, none of `< > : " | ? *`,
/// not `.` or `..`, no device name of Windows, no trailing dot or space, no name that a part file or a sidecar has, and
/// at most 225 bytes before a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SafeName(Box<str>);

impl SafeName {
    /// The name for a URL: its last part, decoded once and made safe; `index.html` where that is empty.
    #[must_use]
    pub fn from_url(url: &WebUrl) -> Self {
        Self::reduced(&percent_decoded(url.last_segment()))
    }

    /// A name that a user chose; `None` if it would have to be changed to be safe. Only a name such as a part file has
    /// is changed all the same: `x.part` becomes `x.part_`, as it does for a URL.
    #[must_use]
    pub fn chosen(name: &str) -> Option<Self> {
        let safe = Self::reduced(name);
        let is_same = &*safe.0 == name || (is_reserved(name) && safe.0.strip_suffix('_') == Some(name));
        is_same.then_some(safe)
    }

    /// Makes any text a safe name.
    fn reduced(text: &str) -> Self {
        // Most names need no more.
        if is_plain(text) && !is_device(text) && !is_reserved(text) {
            return Self(text.into());
        }
        let mut name: String = text.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
        // One change can call for another: a cut may leave a device's name, or spaces at the end.
        loop {
            let mended = mended(&name);
            if mended == name {
                return Self(name.into());
            }
            name = mended;
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The `number`th name of this kind: `name-2.ext`, the number before the last extension.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        let (stem, extension) = split_extension(&self.0);
        Self(format!("{stem}-{number}{extension}").into())
    }

    /// The name of the part file beside it.
    #[must_use]
    pub fn part(&self) -> String {
        format!("{}{PART}", self.0)
    }

    /// What two names share when some file system takes them for the same: it ignores case.
    #[must_use]
    pub(super) fn key(&self) -> String {
        folded(&self.0)
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn is_unsafe(c: char) -> bool {
    is_hidden(c) || matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// Whether Windows takes the name for a device, which it does whatever the extension.
fn is_device(name: &str) -> bool {
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

/// Whether tdl itself may put something of this name beside some target.
fn is_reserved(name: &str) -> bool {
    let name = folded(name);
    let name = name.strip_suffix(".kept").unwrap_or(&name);
    name == COMPARISONS || RESERVED.iter().any(|suffix| name.ends_with(suffix))
}

/// A name without the differences that a file system may ignore: those of case.
fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Letter by letter: a final sigma is the same letter as any other.
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// A name with the first thing mended that is wrong with it, of what is not about single characters.
fn mended(name: &str) -> String {
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

/// Whether a text is short and of characters that every system stores, and ends in no dot.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=LONGEST).contains(&text.len()) && !text.ends_with('.') && text.bytes().all(is_plain)
}

/// Windows drops dots and spaces at the end.
fn trimmed(name: &str) -> &str {
    name.trim_end_matches(['.', ' '])
}

/// Cuts a long name before its extension, between characters.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let room = LONGEST - extension.len();
    let end = (0..=room).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or_default();
    format!("{}{extension}", &stem[..end])
}

/// The name before its last extension, and that with its dot. A leading dot begins no extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= LONGEST_EXTENSION => name.split_at(at),
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
    fn names_of_urls_seen_in_the_wild() {
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
        assert!(short.len() <= LONGEST && short.ends_with("é.gz"), "{short}");
        let no_extension = name(&format!("http://h/{}", "x".repeat(400)));
        assert_eq!(no_extension.len(), LONGEST);
        assert_eq!(name(&format!("http://h/{}x", "%20".repeat(300))), "index.html");
        assert_eq!(name(&format!("http://h/CON{}x", "%20".repeat(300))), "_CON");
        assert_eq!(name(&format!("http://h/CON{}.x", "%20".repeat(221))).len(), LONGEST);
        let long_extension = name(&format!("http://h/a.{}", "x".repeat(400)));
        assert_eq!(long_extension.len(), LONGEST);
    }

    #[test]
    fn a_number_goes_before_the_last_extension() {
        for (name, numbered) in [("a.txt", "a-2.txt"), ("a.tar.gz", "a.tar-2.gz"), ("a", "a-2"), (".rc", ".rc-2")] {
            assert_eq!(SafeName::chosen(name).unwrap().numbered(2).as_str(), numbered);
        }
    }

    #[test]
    fn a_chosen_name_is_taken_as_it_is_or_not_at_all() {
        assert_eq!(SafeName::chosen("a b.txt").unwrap().as_str(), "a b.txt");
        for bad in ["", ".", "..", "a/b", "a\\b", "con", "x.", "a\nb"] {
            assert_eq!(SafeName::chosen(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_name_is_one_that_tdl_writes_beside_a_target() {
        let all = ["", ".json", ".tmp", ".kept", ".new", ".new.json", ".new.tmp"];
        for suffix in all.iter().flat_map(|suffix| [format!("x.part{suffix}"), format!("x.part{suffix}.kept")]) {
            for name in [suffix.clone(), suffix.to_uppercase()] {
                assert_eq!(SafeName::chosen(&name).unwrap().as_str(), format!("{name}_"));
            }
        }
        // Letters that some file systems take for s and k.
        assert_eq!(SafeName::chosen("x.part.j\u{17f}on").unwrap().as_str(), "x.part.j\u{17f}on_");
        assert_eq!(SafeName::chosen("x.part.\u{212a}ept").unwrap().as_str(), "x.part.\u{212a}ept_");
        let long = name(&format!("http://h/{}.part", "x".repeat(400)));
        assert!(long.len() == LONGEST && long.ends_with("x.part_"), "{long}");
        let device = name(&format!("http://h/CON{}x.part", "%20".repeat(LONGEST - "CONx.part".len())));
        assert!(device.len() == LONGEST && device.starts_with("_CON ") && device.ends_with(" .part_"), "{device}");
    }

    proptest! {
        #[test]
        fn whatever_the_url_the_name_is_one_safe_component(start in "(CON|nul|x)?", filler in "(%20|%2e|\\.| ){0,300}", tail in "(?s).{0,300}", end in "(\\.part|\\.json|\\.tmp|\\.kept|\\.new|\\.PART|-2|x){0,4}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            for text in [
                format!("http://h/{start}{filler}{tail}"), format!("http://h/{start}{filler}x{end}"), format!("http://h/{end}"),
                format!("http://h/{start}{filler}x.{filler}"),
                format!("http://h/{encoded}"), format!("http://h/{encoded}{tail}"), format!("http://h/{tail}")] {
                let Ok(url) = WebUrl::parse(&text) else { continue };
                let name = SafeName::from_url(&url);
                let text = name.as_str();
                prop_assert!(!text.is_empty() && text.len() <= LONGEST);
                prop_assert!(text != "." && text != "..");
                prop_assert!(!text.chars().any(is_unsafe), "{text:?}");
                prop_assert!(!text.ends_with(['.', ' ']) && !is_device(text) && !is_reserved(text));
                prop_assert_eq!(std::path::Path::new(text).components().count(), 1);
                // What is safe stays as it is: the same on every run.
                let again = SafeName::chosen(text);
                prop_assert_eq!(again.as_ref(), Some(&name));
                let numbered = name.numbered(9_999_999_999);
                prop_assert!(numbered.part().len() + ".new.json.kept".len() <= 255);
                prop_assert!(!is_reserved(numbered.as_str()), "{numbered}");
            }
        }
    }
}
