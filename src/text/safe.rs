//! Escapes text from servers, URLs and the file system, so that it cannot move the cursor, change the reading direction
//! or hide characters when it is printed.

use std::fmt;
use std::path::Path;

/// Escapes every [hidden](is_hidden) character of `text` as `\u{…}` when it is displayed.
#[must_use]
pub const fn safe(text: &str) -> SafeText<'_> {
    SafeText(text)
}

/// Escapes a path like [`safe`]; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn safe_path(path: &Path) -> String {
    safe(&path.to_string_lossy()).to_string()
}

/// Text that is safe to print, from [`safe`].
#[derive(Debug, Clone, Copy)]
pub struct SafeText<'a>(&'a str);

impl fmt::Display for SafeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        for c in self.0.chars() {
            if is_hidden(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Whether a character is invisible but affects a terminal or the displayed text: controls (C0, C1, DEL), line and
/// paragraph separators, the bidirectional controls of UAX #9, invisible operators, annotation and tag characters. The
/// zero-width joiner and non-joiner are allowed: Persian and emoji need them.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_visible_ones_are_not() {
        for (text, shown) in [
            ("plain name.txt", "plain name.txt"),
            ("é 文 👩\u{200d}💻", "é 文 👩\u{200d}💻"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("a\r\nb", "a\\u{d}\\u{a}b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
        ] {
            assert_eq!(safe(text).to_string(), shown);
        }
    }
}
