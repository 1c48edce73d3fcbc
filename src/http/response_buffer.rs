//! The buffer of one response, between the runtime's thread that receives it and the thread that reads it.
//!
//! The runtime's task reads ahead, up to [`READ_AHEAD`], and wakes the reader only when it has nothing else to do. So a
//! small file costs one wake-up for its head and its body, and a burst of small chunks costs one for all of them.
//! reqwest's blocking client wakes both threads for every chunk, which limits it to 22 MB/s at 1,000 bytes a chunk.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::sync::Notify;

use super::timing::Timing;

/// The maximum number of buffered bytes; the last frame may exceed it.
const READ_AHEAD: usize = 64 * 1024;

/// The maximum number of buffered frames. A chunk may be a single byte.
const FRAMES_AHEAD: usize = 1024;

/// How often a waiting reader checks for cancellation.
const CANCEL_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Checks whether the reader should give up. It is called while the buffer is locked, so it must not block.
#[derive(Clone, Copy)]
pub struct CancelCheck<'a>(pub &'a (dyn Fn() -> bool + Sync));

/// Why there is no response, or why it is incomplete.
#[derive(Debug)]
pub enum ExchangeError {
    /// reqwest failed.
    Library(reqwest::Error),
    /// The runtime shut down before the response was complete.
    Ended,
    /// The run was cancelled, or the reader was interrupted, while it waited.
    Cancelled,
}

/// The status and headers of a response.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The length of the body, if `Content-Length` gives it and no `Transfer-Encoding` overrides it.
    pub content_length: Option<u64>,
    pub timing: Timing,
}

/// The received but unread bytes of one response, shared by a runtime's task and one reader.
#[derive(Debug, Default)]
pub struct ResponseBuffer {
    state: Mutex<State>,
    /// The reader waits here.
    arrived: Condvar,
    /// The runtime's task waits here for space in the buffer.
    space: Notify,
}

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    buffered: usize,
    body: BodyState,
    reader_waits: bool,
    task_waits: bool,
}

#[derive(Debug, Default)]
enum BodyState {
    /// More may arrive.
    #[default]
    Receiving,
    Complete,
    Failed(ExchangeError),
}

/// For the runtime's task.
impl ResponseBuffer {
    pub fn set_head(&self, head: Head) {
        self.state().head = Some(head);
    }

    /// Adds a frame, and waits while the buffer is full.
    pub async fn push(&self, frame: Bytes) {
        let is_full = {
            let mut state = self.state();
            state.buffered += frame.len();
            state.frames.push_back(frame);
            state.task_waits = state.buffered >= READ_AHEAD || state.frames.len() >= FRAMES_AHEAD;
            state.task_waits
        };
        if is_full {
            self.wake_reader();
            self.space.notified().await;
        }
    }

    /// Records the end of the response, unless one was recorded before.
    pub fn finish(&self, result: Result<(), ExchangeError>) {
        let mut state = self.state();
        if matches!(state.body, BodyState::Receiving) {
            state.body = result.map_or_else(BodyState::Failed, |()| BodyState::Complete);
        }
        drop(state);
        self.wake_reader();
    }

    /// Lets the reader look again, if it waits.
    pub fn wake_reader(&self) {
        if std::mem::take(&mut self.state().reader_waits) {
            self.arrived.notify_one();
        }
    }
}

/// For the reader.
impl ResponseBuffer {
    /// Waits for the head, and takes it.
    ///
    /// # Errors
    ///
    /// There is no response, or the run was cancelled.
    pub fn wait_for_head(&self, cancel: CancelCheck<'_>) -> Result<Head, ExchangeError> {
        let mut state = self.state();
        loop {
            if let Some(head) = state.head.take() {
                return Ok(head);
            }
            if !matches!(state.body, BodyState::Receiving) {
                return Err(state.take_error());
            }
            state = self.wait(state, cancel)?;
        }
    }

    /// Waits for frames or the end of the body, for at most `patience`. Returns whether there is any of that, or the run
    /// was cancelled.
    pub fn wait_for_more(&self, patience: Duration, cancel: CancelCheck<'_>) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.frames.is_empty() && matches!(state.body, BodyState::Receiving) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if cancel.is_cancelled() {
                return true;
            }
            state = self.wait_for_change(state, left.min(CANCEL_CHECK_INTERVAL));
        }
        true
    }

    /// Waits for frames, and moves up to `max_bytes` to `taken`; none at the end of the body.
    ///
    /// # Errors
    ///
    /// The body is incomplete, or the run was cancelled.
    pub fn take(&self, max_bytes: usize, taken: &mut Vec<Bytes>, cancel: CancelCheck<'_>) -> Result<(), ExchangeError> {
        let mut state = self.state();
        while state.frames.is_empty() {
            match state.body {
                BodyState::Receiving => state = self.wait(state, cancel)?,
                BodyState::Complete => return Ok(()),
                BodyState::Failed(_) => return Err(state.take_error()),
            }
        }
        let mut left = max_bytes;
        while let Some(first) = state.frames.front_mut().filter(|_| left > 0) {
            let frame = first.split_to(first.len().min(left));
            if first.is_empty() {
                state.frames.pop_front();
            }
            left -= frame.len();
            taken.push(frame);
        }
        state.buffered -= max_bytes - left;
        let has_space = state.buffered < READ_AHEAD / 2 && state.frames.len() < FRAMES_AHEAD / 2;
        if has_space && std::mem::take(&mut state.task_waits) {
            drop(state);
            self.space.notify_one();
        }
        Ok(())
    }

    /// Waits until the whole body has arrived, for at most `timeout`. Only for a body that fits into the buffer.
    pub fn wait_for_end(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        while matches!(state.body, BodyState::Receiving) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.wait_for_change(state, left);
        }
    }

    /// Waits for a change, or until it is time to check for cancellation again.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        cancel: CancelCheck<'_>,
    ) -> Result<MutexGuard<'a, State>, ExchangeError> {
        // Only when the thread would block anyway, so a body that arrives faster than it is read costs no check.
        if cancel.is_cancelled() {
            return Err(ExchangeError::Cancelled);
        }
        Ok(self.wait_for_change(state, CANCEL_CHECK_INTERVAL))
    }

    fn wait_for_change<'a>(&'a self, mut state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        state.reader_waits = true;
        self.arrived.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns why nothing more arrives. A second call still returns an error.
    fn take_error(&mut self) -> ExchangeError {
        match std::mem::replace(&mut self.body, BodyState::Failed(ExchangeError::Ended)) {
            BodyState::Failed(error) => error,
            BodyState::Receiving | BodyState::Complete => ExchangeError::Ended,
        }
    }
}

impl CancelCheck<'_> {
    /// Whether the reader should give up.
    pub fn is_cancelled(self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for CancelCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelCheck")
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_wake_up_without_anything_is_no_pause() {
        let buffer = ResponseBuffer::default();
        let never = CancelCheck(&|| false);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| buffer.wait_for_more(Duration::from_secs(60), never));
            while !buffer.state().reader_waits {
                thread::yield_now();
            }
            // As by the task that has found nothing else to do after the reader has taken its frame.
            buffer.wake_reader();
            while !buffer.state().reader_waits {
                thread::yield_now();
            }
            buffer.finish(Ok(()));
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn a_pause_ends_at_once_if_the_run_is_cancelled() {
        let buffer = ResponseBuffer::default();
        assert!(buffer.wait_for_more(Duration::from_secs(60), CancelCheck(&|| true)), "the next read says why");
        assert!(!buffer.wait_for_more(Duration::ZERO, CancelCheck(&|| true)));
    }
}
