//! [`Position`]: a number and a flag in four bytes, for a plan may hold millions of them.

/// The position of a download in its plan, and whether the list gave its target a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position(u32);

impl Position {
    /// The bit that says whether there is a name.
    const NAMED: u32 = 1 << 31;

    /// How many positions there are.
    pub const LIMIT: u32 = Self::NAMED;

    /// The same with another position, which is below [`LIMIT`](Self::LIMIT).
    pub const fn at(self, id: u32) -> Self {
        Self(id & !Self::NAMED | self.0 & Self::NAMED)
    }

    /// The same, with or without a name.
    pub const fn named(self, is_named: bool) -> Self {
        Self(self.0 & !Self::NAMED | if is_named { Self::NAMED } else { 0 })
    }

    pub const fn id(self) -> u32 {
        self.0 & !Self::NAMED
    }

    pub const fn is_named(self) -> bool {
        self.0 & Self::NAMED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_and_the_flag_do_not_touch_each_other() {
        let last = Position::default().named(true).at(Position::LIMIT - 1);
        assert_eq!((last.id(), last.is_named()), (Position::LIMIT - 1, true));
        assert_eq!((last.named(false).id(), last.named(false).is_named()), (Position::LIMIT - 1, false));
        assert_eq!((last.at(0).id(), last.at(0).is_named()), (0, true));
    }
}
