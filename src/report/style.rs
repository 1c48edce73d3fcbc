//! What a terminal can show: colours, and more than ASCII.

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    has_colours: bool,
    is_unicode: bool,
}

/// A meaning that is shown by a colour.
#[derive(Debug, Clone, Copy)]
pub enum Tone {
    /// As clap shows it.
    Error,
    Bad,
    Waiting,
    Good,
    Faint,
}

impl Style {
    /// Plain text in ASCII.
    #[cfg(test)]
    pub const PLAIN: Self = Self { has_colours: false, is_unicode: false };

    #[cfg(test)]
    pub const fn unicode() -> Self {
        Self { has_colours: false, is_unicode: true }
    }

    /// The style of a stream, by the environment's variables. `NO_COLOR` (no-color.org) turns colours off, and `CLICOLOR_FORCE` (bixense.com/clicolors) on; otherwise a
    /// terminal has them that is not dumb. The locale says what can be shown besides ASCII.
    pub fn new(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_set = |name: &str| value(name).is_some_and(|value| value != "0");
        let is_dumb = value("TERM").is_some_and(|term| term == "dumb");
        let is_off = value("NO_COLOR").is_some() || value("CLICOLOR").is_some_and(|value| value == "0");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            has_colours: !is_off && (is_set("CLICOLOR_FORCE") || (is_terminal && !is_dumb)),
            // Windows has no such variables; its terminals have shown Unicode since 2019.
            is_unicode: locale.contains("utf-8") || locale.contains("utf8") || value("WT_SESSION").is_some(),
        }
    }

    /// Colours a text.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Error => "1;31",
            Tone::Bad => "31",
            Tone::Waiting => "33",
            Tone::Good => "32",
            Tone::Faint => "2",
        };
        if self.has_colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What separates the parts of a line.
    pub const fn separator(self) -> &'static str {
        if self.is_unicode { " · " } else { " | " }
    }

    /// What stands for text that has no room.
    pub const fn ellipsis(self) -> &'static str {
        if self.is_unicode { "…" } else { "..." }
    }

    pub const fn times(self) -> &'static str {
        if self.is_unicode { "×" } else { "x" }
    }

    /// A bar of this many columns.
    pub fn bar(self, columns: usize, part: f64) -> String {
        let inside = if self.is_unicode { columns } else { columns.saturating_sub(2) };
        // Full only if all of it is there.
        let filled = ((inside as f64 * part.clamp(0.0, 1.0)) as usize).min(inside);
        if self.is_unicode {
            let head = usize::from(filled < inside);
            let (full, rest) = ("━".repeat(filled) + &"╸".repeat(head), "─".repeat(inside - filled - head));
            return self.paint(Tone::Good, &full) + &self.paint(Tone::Faint, &rest);
        }
        let head = usize::from(filled < inside);
        let (full, rest) = ("=".repeat(filled) + &">".repeat(head), " ".repeat(inside - filled - head));
        format!("[{}{rest}]", self.paint(Tone::Good, &full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_and_the_terminal_decide() {
        let style = |is_terminal, variables: &[(&str, &str)]| {
            let value =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
            let Style { has_colours, is_unicode } = Style::new(is_terminal, value);
            (has_colours, is_unicode)
        };
        for (is_terminal, variables, expected) in [
            (true, &[("LANG", "de_DE.UTF-8")][..], (true, true)),
            (true, &[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")], (true, false)),
            (true, &[("LC_ALL", ""), ("LANG", "C.utf8")], (true, true)),
            (true, &[("NO_COLOR", "1")], (false, false)),
            (true, &[("NO_COLOR", ""), ("TERM", "dumb")], (false, false)),
            (true, &[("CLICOLOR", "0")], (false, false)),
            (false, &[], (false, false)),
            (false, &[("CLICOLOR_FORCE", "1")], (true, false)),
            (false, &[("CLICOLOR_FORCE", "0")], (false, false)),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], (false, false)),
        ] {
            assert_eq!(style(is_terminal, variables), expected, "{is_terminal} {variables:?}");
        }
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(Style::PLAIN.bar(7, 0.0), "[>    ]");
        assert_eq!(Style::PLAIN.bar(7, 0.999), "[====>]");
        assert_eq!(Style::PLAIN.bar(7, 1.0), "[=====]");
        let unicode = Style { is_unicode: true, ..Style::PLAIN };
        assert_eq!(unicode.bar(4, 0.5), "━━╸─");
    }
}
