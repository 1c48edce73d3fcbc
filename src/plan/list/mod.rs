//! Parsers for lists of URLs, one file per format. Each error names its list and line.

mod error;
mod plain;

pub use error::ListError;
pub use plain::{PlainParser, parse_plain};
