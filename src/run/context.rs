//! What a transfer is given: what all downloads of a run share, and what its thread brings.

use super::control::Control;
use super::event::Reporter;
use super::help::Board;
use crate::http::Client;
use crate::options::{Limits, Output, Retry};
use crate::part::Checkpointer;
use crate::plan::Plan;

/// Bytes read at once. 64 KiB and 256 KiB make no difference (measured).
const BUFFER: usize = 128 * 1024;

/// What all downloads of a run share.
pub struct Context<'a> {
    pub plan: &'a Plan,
    pub output: &'a Output,
    pub retry: &'a Retry,
    pub limits: &'a Limits,
    pub checkpointer: &'a Checkpointer,
    /// Whether nothing was in the output directory when the run began, so that a first attempt need not look for
    /// anything. What appears there meanwhile is seen when a file gets its name.
    pub began_empty: bool,
    /// Where downloads are offered to threads that have nothing to start, if they may be.
    pub board: Option<&'a Board>,
    pub control: &'a Control,
    pub reporter: &'a dyn Reporter,
}

/// What one thread brings to all of its downloads.
pub struct Worker<'a> {
    pub client: Client<'a>,
    pub buffer: Box<[u8]>,
}

impl<'a> Worker<'a> {
    pub fn new(client: Client<'a>) -> Self {
        Self { client, buffer: vec![0; BUFFER].into_boxed_slice() }
    }
}
