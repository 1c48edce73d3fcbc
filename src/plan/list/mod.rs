//! Parsers for lists of URLs that have been read into memory, one file per format. Each error names its list and line.

mod error;
mod plain;

pub use error::ListError;
pub use plain::parse_plain;
