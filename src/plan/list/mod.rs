//! Lists of URLs, already read into memory, one file per format. Every error names its list and line.

mod error;
mod plain;

pub use error::ListError;
pub use plain::parse_plain;
