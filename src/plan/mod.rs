//! What to fetch: list entries become downloads, each with a target of its own. Uses neither file system nor network.

mod build;
mod download;
mod entry;
pub mod list;
mod name;
mod target;

pub use build::Plan;
pub use download::{Download, Expected, Source};
pub use entry::Entry;
#[cfg(feature = "cli")]
pub use name::COMPARE_DIRECTORY;
pub use name::SafeName;
pub use target::Target;
