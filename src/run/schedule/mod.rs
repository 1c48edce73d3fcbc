//! Which download runs when: one after another in a plain loop, or in the threads of a pool around one queue.

mod concurrent;
mod host;
mod limiter;
mod pool;
mod queue;
mod sequential;
#[cfg(test)]
mod simulation;

pub use concurrent::run_concurrently;
pub use sequential::{run_sequentially, run_to_completion};
