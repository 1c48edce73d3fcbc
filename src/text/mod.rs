//! Text that people see, escaped, and text that is kept a million times, packed.

mod safe;
mod shared;

pub use safe::{is_hidden, safe, safe_path};
pub use shared::{SharedText, pack};
