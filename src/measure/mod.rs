//! `--compare`: runs a plan twice, first sequentially and then concurrently, and measures both runs.

mod cleanup;
mod compare;
mod scratch;

pub use cleanup::remove_dead;
pub use compare::{CompareResult, Comparison, compare};
pub use scratch::Scratch;
