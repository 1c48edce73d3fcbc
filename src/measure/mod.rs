//! `--compare`: carries out a plan twice, one download after another and then side by side, and measures both.

mod compare;
mod scratch;

pub use compare::{CompareResult, Comparison, compare};
pub use scratch::{Scratch, remove_dead};
