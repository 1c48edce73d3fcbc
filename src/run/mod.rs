//! Runs a plan and says how it went. Knows no command line, no progress bar and no terminal.

mod attempt;
mod body;
mod cancel;
mod claimed_names;
mod commit;
mod directory;
mod event;
mod execute;
mod existing;
mod finish;
mod growing_list;
mod growth;
mod leftovers;
mod listing;
mod locate;
mod open_files;
mod outcome;
mod receive;
mod remote_name;
mod resume_policy;
mod retry;
mod schedule;
mod session;
mod sink;
mod split;
mod stats;
mod step;
mod transfer;

pub use cancel::CancelToken;
#[cfg(feature = "cli")]
pub use directory::{create_directory, is_taken, must_avoid};
pub use event::{Event, Progress, Reporter};
pub use execute::{execute, execute_first, execute_growing};
pub use growing_list::Item;
#[cfg(feature = "cli")]
pub use listing::Listing;
#[cfg(feature = "cli")]
pub use locate::own_file;
pub use outcome::{FailureNote, Fetched, Finished, Outcome, SkipReason, Summary};
#[cfg(feature = "cli")]
pub use retry::MAX_RETRY_AFTER;
pub use stats::RunStats;
