//! The two ways to run a list, for tests that must pass in both.

/// How `tdl` works through its downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A thread per download.
    Concurrent,
    /// `--sequential`: a plain loop.
    Sequential,
}

impl Mode {
    pub fn is_sequential(self) -> bool {
        self == Self::Sequential
    }
}

/// Turns `fn NAME(mode: Mode)` into two tests, `NAME::concurrent` and `NAME::sequential`. Attributes such as
/// `#[ignore]` go before the name.
macro_rules! in_both_modes {
    ($(#[$attribute:meta])* $name:ident) => {
        mod $name {
            use crate::mode::Mode;

            #[test]
            $(#[$attribute])*
            fn concurrent() {
                super::$name(Mode::Concurrent);
            }

            #[test]
            $(#[$attribute])*
            fn sequential() {
                super::$name(Mode::Sequential);
            }
        }
    };
}
pub(crate) use in_both_modes;
