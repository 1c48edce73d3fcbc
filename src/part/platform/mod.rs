//! What differs by platform: opening without following links, telling whether a path still names the file that was
//! opened, renaming without replacing, files without a name, extended attributes, and finding out whether a process is
//! still running.

mod attribute;
mod open;
mod process;
mod rename;
mod tmpfile;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use attribute::{read_attribute, set_attribute};
pub use open::{is_not_a_file, open_part, open_to_read};
pub use process::{machine_id, start_time};
pub use rename::{Renamed, rename_no_replace};
pub use tmpfile::{link_unnamed, open_unnamed};
#[cfg(unix)]
pub use unix::{
    LOCKS_SPAN_MACHINES, free_space, has_single_link, is_at, is_link_to, is_lock_unsupported, preallocate,
    sync_directory, write_at,
};
#[cfg(windows)]
pub use windows::{
    LOCKS_SPAN_MACHINES, free_space, has_single_link, is_at, is_link_to, is_lock_unsupported, preallocate,
    sync_directory, write_at,
};
