//! What to fetch: list entries become downloads, each with a target of its own. Uses neither file system nor network.

mod build;
mod download;
mod entry;
mod layout;
pub mod list;
mod name;
mod names;
mod origin;
mod position;
mod query_name;
mod requests;
mod source;
mod sums;
mod target;

pub use build::{AddError, Owner, Plan};
pub use download::Download;
pub use entry::Entry;
pub use layout::Layout;
#[cfg(feature = "cli")]
pub use name::COMPARE_DIRECTORY;
pub use name::SafeName;
pub use names::Clash;
pub use origin::Origin;
pub use source::{Expected, Source};
pub use sums::{Sums, Unmatched};
pub use target::{PathError, Target};
