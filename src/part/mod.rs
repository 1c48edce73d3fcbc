//! Where bytes land: the part file beside a target, its lock and its sidecar, and the one rename that gives it the
//! final name. Does not use the network.
//!
//! A [`PartFile`] belongs to one download: `open` locks it and decides whether to resume it, `part_file` starts or
//! resumes it, and `commit` or `release` ends it. Its [`SharedPart`] is what the threads of that download see: each
//! writes one of the `segments` through a [`SegmentWriter`] (`writer`, which also assigns them, as `claim` decides),
//! while the [`Checkpointer`] saves a `checkpoint` of what they have written. On disk, a `guarded_file` detects changes
//! made by other processes, and the sidecar (`sidecar_reader`, `sidecar_temporary`, `sidecar_file`) records ownership
//! where locks cannot be trusted.

mod active;
mod checkpoint;
mod checkpointer;
mod claim;
mod commit;
mod digest;
mod directory;
mod errors;
mod guarded_file;
mod meter;
mod move_aside;
mod open;
mod owner;
mod ownership;
mod part_file;
mod paths;
mod platform;
mod probe;
mod process;
mod ranges;
mod release;
mod segments;
mod shared_part;
mod sidecar;
mod sidecar_file;
mod sidecar_reader;
mod sidecar_temporary;
mod source_mark;
mod target_state;
mod trust;
mod unnamed;
mod writer;

pub use checkpointer::Checkpointer;
pub use claim::Demand;
pub use commit::CommitMode;
pub use digest::check_bytes;
pub use directory::{create_below, is_empty_directory, is_path_of_directories, sync_parent};
pub use open::Existing;
pub use part_file::PartFile;
pub use probe::check_writable;
#[cfg(feature = "cli")]
pub use process::{process_has_ended, process_token};
pub use ranges::Ranges;
#[cfg(test)]
pub use segments::{Next as SegmentStep, SegmentId, Segments};
pub use shared_part::SharedPart;
pub use sidecar::Sidecar;
pub use target_state::{TargetState, remove_orphans, target_state};
pub use unnamed::{FileMetadata, LinkOutcome, UnnamedFile};
pub use writer::SegmentWriter;

#[cfg(test)]
mod testing;
