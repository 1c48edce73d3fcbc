//! Which download runs when: one after another in a plain loop, or in the threads of a pool around one queue.

mod concurrent;
mod host;
mod hosts;
mod limiter;
mod permit;
mod pool;
mod queue;
mod sequential;
#[cfg(test)]
mod simulation;
mod task_result;
mod waiting;
mod work;

pub use concurrent::run_concurrently;
pub use sequential::{run_sequentially, run_to_completion};
