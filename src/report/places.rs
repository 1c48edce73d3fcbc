//! [`Places`]: which line of which list a download is from.

/// The lists of a command. Their lines are counted as if they were one list after another, from 1: an entry then needs
/// only that number. Entries from arguments have the number 0.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The name of each list, and the number of the line before its first.
    lists: Vec<(u32, String)>,
    lines: u32,
}

impl Places {
    /// Adds a list. Returns the number of the line before its first.
    pub fn add(&mut self, name: &str) -> u32 {
        self.lists.push((self.lines, name.to_owned()));
        self.lines
    }

    /// Says how many lines the list has that was added last.
    pub const fn count_lines(&mut self, lines: u32) {
        self.lines = self.lines.saturating_add(lines);
    }

    /// Formats a place as `LIST:LINE`; `None` for an argument.
    pub fn format(&self, place: u32) -> Option<String> {
        let list = self.lists.partition_point(|(start, _)| *start < place).checked_sub(1)?;
        let (start, name) = &self.lists[list];
        Some(format!("{name}:{}", place - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_their_lists() {
        let mut places = Places::default();
        assert_eq!(places.format(0), None);
        for (name, lines) in [("a.txt", 3), ("empty", 0), ("b.txt", 2)] {
            places.add(name);
            places.count_lines(lines);
        }
        let found = [0, 1, 3, 4, 5].map(|place| places.format(place));
        assert_eq!(
            found,
            [None, Some("a.txt:1"), Some("a.txt:3"), Some("b.txt:1"), Some("b.txt:2")]
                .map(|place| place.map(str::to_owned))
        );
    }
}
