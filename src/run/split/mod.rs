//! Several connections for one file: which running downloads want another one, and fetching one segment.

mod backoff;
mod fetch;
mod registry;

pub use backoff::SplitBackoff;
pub use fetch::{SegmentTask, fetch_segment};
pub use registry::{SplitDownload, SplitRegistry};
