//! Lists in the formats that people have, one file per format. Each error names its list and line.
//!
//! A parser is given lines and hands over entries as soon as they are complete; `parser` says which parser gets them.

mod armor;
mod checksum;
mod columns;
mod detect;
mod error;
mod json;
mod lines;
mod metalink;
mod options;
mod parser;
mod record;
mod reference;
mod sink;
mod sums;
mod table;
#[cfg(test)]
mod testing;

pub use checksum::parse_checksum;
pub use columns::{Columns, ColumnsError};
pub use detect::Format;
pub use error::ListError;
pub use parser::{ListParser, ListSettings, parse};
pub use sink::Parsed;
pub use sums::{Sum, SumsParser};
