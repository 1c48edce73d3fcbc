//! One request and its response: a runtime's thread does the network, and the thread that asked reads from here.
//!
//! The runtime's thread reads ahead, up to [`READ_AHEAD`], and wakes the reader only when it has nothing else to do. So
//! a small file costs one wake-up for its head and its body, and a burst of small chunks costs one for all of them. The
//! library's blocking client wakes both threads for every chunk, which bounds it to 22 MB/s at 1,000 bytes a chunk.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};

/// How many bytes of a body may wait for their reader; the library's last frame may exceed it.
const READ_AHEAD: usize = 128 * 1024;

/// How many frames of a body may wait for their reader: a chunk may be of one byte.
const FRAMES_AHEAD: usize = 1024;

/// A response whose body is still to be read. Dropped before the end of the body, it closes the connection.
#[derive(Debug)]
pub struct RawResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The length of the body, where a `Content-Length` alone says it.
    pub content_length: Option<u64>,
    body: Arc<Body>,
    /// Frames that were taken from `body` by a read, which keeps the allocation for the next.
    taken: Vec<Bytes>,
    task: AbortHandle,
}

/// Why there is no response, or no more of it.
#[derive(Debug)]
pub enum ExchangeError {
    /// The library says why.
    Library(reqwest::Error),
    /// The runtime ended before the response did.
    Ended,
}

/// What the runtime's thread has received and the reader has not taken.
#[derive(Debug, Default)]
struct Body {
    state: Mutex<State>,
    /// The reader waits here.
    arrived: Condvar,
    /// The runtime's task waits here for room.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    waiting: usize,
    end: End,
    reader_waits: bool,
    task_waits: bool,
}

#[derive(Debug)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    content_length: Option<u64>,
}

#[derive(Debug, Default)]
enum End {
    /// More may come.
    #[default]
    Open,
    /// Everything has come.
    Whole,
    ExchangeError(ExchangeError),
}

/// Carries out a request on a runtime, and blocks until the head of its response has come.
///
/// Before it is sent, the runtime looks once at every connection that is kept open: one on which bytes are waiting that
/// belong to no response is closed rather than used again. `answered` is called on the runtime's thread when the head has
/// come, and so before the connection can be used again.
///
/// # Errors
///
/// No response came.
pub fn send(
    runtime: &Handle,
    client: Client,
    request: Request,
    answered: impl FnOnce() + Send + 'static,
) -> Result<RawResponse, ExchangeError> {
    let body = Arc::new(Body::default());
    let ending = Ending(Arc::clone(&body));
    let task = runtime.spawn(async move {
        // The runtime comes back to this task after it has asked the system for new events and acted on them.
        yield_now().await;
        let result = exchange(&client, request, answered, &ending.0).await;
        ending.0.end(result.map_or_else(|error| End::ExchangeError(ExchangeError::Library(error)), |()| End::Whole));
    });
    let task = task.abort_handle();
    let Head { status, headers, content_length } = body.wait_for_head()?;
    Ok(RawResponse { status, headers, content_length, body, taken: Vec::new(), task })
}

async fn exchange(client: &Client, request: Request, answered: impl FnOnce(), body: &Body) -> reqwest::Result<()> {
    let mut response = client.execute(request).await?;
    answered();
    body.begin(&response);
    loop {
        let frame = {
            let mut next = pin!(response.chunk());
            match before_idle(next.as_mut()).await {
                Some(frame) => frame,
                None => {
                    body.wake_reader();
                    next.await
                }
            }
        };
        match frame? {
            Some(bytes) => body.push(bytes).await,
            None => return Ok(()),
        }
    }
}

/// What a future comes to before the runtime has nothing else to do.
async fn before_idle<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut idle = pin!(yield_now());
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => idle.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl RawResponse {
    /// Reads the next bytes of the body; 0 at its end.
    ///
    /// # Errors
    ///
    /// The body does not come to its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ExchangeError> {
        self.body.take(buffer.len(), &mut self.taken)?;
        let mut filled = 0;
        for frame in self.taken.drain(..) {
            buffer[filled..filled + frame.len()].copy_from_slice(&frame);
            filled += frame.len();
        }
        Ok(filled)
    }

    /// Waits until the whole body has come, for so long at most. It has to be shorter than what is read ahead.
    pub fn wait_for_end(self, longest: Duration) {
        let deadline = Instant::now() + longest;
        let mut state = self.body.state();
        while matches!(state.end, End::Open) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state.reader_waits = true;
            (state, _) = self.body.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for RawResponse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Body {
    fn begin(&self, response: &reqwest::Response) {
        self.state().head = Some(Head {
            status: response.status(),
            headers: response.headers().clone(),
            // Asked for later, once reading has begun, the library counts down.
            content_length: response.content_length(),
        });
    }

    async fn push(&self, frame: Bytes) {
        let is_full = {
            let mut state = self.state();
            state.waiting += frame.len();
            state.frames.push_back(frame);
            state.task_waits = state.waiting >= READ_AHEAD || state.frames.len() >= FRAMES_AHEAD;
            state.task_waits
        };
        if is_full {
            self.wake_reader();
            self.room.notified().await;
        }
    }

    fn end(&self, end: End) {
        self.state().end = end;
        self.wake_reader();
    }

    fn wake_reader(&self) {
        if std::mem::take(&mut self.state().reader_waits) {
            self.arrived.notify_one();
        }
    }

    fn wait_for_head(&self) -> Result<Head, ExchangeError> {
        let mut state = self.state();
        loop {
            if let Some(head) = state.head.take() {
                return Ok(head);
            }
            if !matches!(state.end, End::Open) {
                return Err(state.failure());
            }
            state = self.wait(state);
        }
    }

    /// Takes frames of up to `room` bytes; none at the end of the body.
    fn take(&self, room: usize, taken: &mut Vec<Bytes>) -> Result<(), ExchangeError> {
        let mut state = self.state();
        while state.frames.is_empty() {
            match state.end {
                End::Open => state = self.wait(state),
                End::Whole => return Ok(()),
                End::ExchangeError(_) => return Err(state.failure()),
            }
        }
        let mut left = room;
        while let Some(first) = state.frames.front_mut().filter(|_| left > 0) {
            let part = first.split_to(first.len().min(left));
            if first.is_empty() {
                state.frames.pop_front();
            }
            left -= part.len();
            taken.push(part);
        }
        state.waiting -= room - left;
        let has_room = state.waiting < READ_AHEAD / 2 && state.frames.len() < FRAMES_AHEAD / 2;
        if has_room && std::mem::take(&mut state.task_waits) {
            drop(state);
            self.room.notify_one();
        }
        Ok(())
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.reader_waits = true;
        self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Why nothing more comes. Asked again, it still does not.
    fn failure(&mut self) -> ExchangeError {
        match std::mem::replace(&mut self.end, End::ExchangeError(ExchangeError::Ended)) {
            End::ExchangeError(failed) => failed,
            End::Open | End::Whole => ExchangeError::Ended,
        }
    }
}

/// Whatever becomes of the task, its reader does not wait for ever.
struct Ending(Arc<Body>);

impl Drop for Ending {
    fn drop(&mut self) {
        if matches!(self.0.state().end, End::Open) {
            self.0.end(End::ExchangeError(ExchangeError::Ended));
        }
    }
}
