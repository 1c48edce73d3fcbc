//! Which download runs when: one after another in a plain loop, or in the threads of a pool around one queue.

mod concurrent;
mod limiter;
mod pool;
mod queue;
mod sequential;

pub use concurrent::concurrent;
pub use sequential::{run_to_completion, sequential};
