//! One request and its response: a task on a runtime does the network I/O, and the thread that sent the request reads
//! the response here.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Bytes;
use reqwest::{Client, Request};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, yield_now};

use super::interrupt::Interrupt;
use super::response_buffer::{CancelCheck, ExchangeError, Head, ResponseBuffer};
use super::timing::Stopwatch;
use super::traffic::Traffic;

/// A response whose body has not been read yet. Dropping it before the end of the body closes the connection.
#[derive(Debug)]
pub struct RawResponse<'a> {
    pub head: Head,
    buffer: Arc<ResponseBuffer>,
    /// Empty between reads; kept for its allocation.
    taken: Vec<Bytes>,
    reader: Reader<'a>,
    _task: AbortOnDrop,
}

/// The thread that waits for a response and reads it.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// Whether its run is cancelled.
    pub cancel: CancelCheck<'a>,
    /// Ends its wait when the response is not needed any more.
    pub interrupt: Arc<Interrupt>,
    /// Counts what it reads.
    pub traffic: Option<&'a Traffic>,
}

impl Reader<'_> {
    fn gives_up(&self) -> bool {
        self.cancel.is_cancelled() || self.interrupt.is_set()
    }
}

/// Sends a request on a runtime, and blocks until the head of its response has arrived.
///
/// Before sending, the runtime polls all idle connections once. One on which bytes have arrived that belong to no
/// response is closed instead of reused. `on_head` is called on the runtime's thread when the head has arrived, before
/// the connection can be reused.
///
/// # Errors
///
/// There is no response, or the run was cancelled, or the wait was interrupted.
pub fn perform<'a>(
    runtime: &Handle,
    client: Client,
    request: Request,
    on_head: impl FnOnce() + Send + 'static,
    reader: Reader<'a>,
) -> Result<RawResponse<'a>, ExchangeError> {
    if reader.interrupt.is_set() {
        return Err(ExchangeError::Cancelled);
    }
    let buffer = Arc::new(ResponseBuffer::default());
    reader.interrupt.set_buffer(&buffer);
    let guard = FinishOnDrop(Arc::clone(&buffer));
    let task = runtime.spawn(async move {
        // The runtime resumes this task after it has polled the system for new events and handled them.
        yield_now().await;
        let result = receive_response(&client, request, on_head, &guard.0).await;
        guard.0.finish(result.map_err(ExchangeError::Library));
    });
    let task = AbortOnDrop(task.abort_handle());
    let head = buffer.wait_for_head(CancelCheck(&|| reader.gives_up()))?;
    if let Some(traffic) = reader.traffic {
        traffic.count_response(head.timing);
    }
    Ok(RawResponse { head, buffer, taken: Vec::new(), reader, _task: task })
}

impl RawResponse<'_> {
    /// Waits for something to read, for at most `patience`. Returns whether there is something, if only the end.
    pub fn wait_for_more(&self, patience: Duration) -> bool {
        self.buffer.wait_for_more(patience, CancelCheck(&|| self.reader.gives_up()))
    }

    /// Reads the next bytes of the body; 0 at its end.
    ///
    /// # Errors
    ///
    /// The body is incomplete, or no byte arrived before the run was cancelled or the read was interrupted.
    pub fn read(&mut self, output: &mut [u8]) -> Result<usize, ExchangeError> {
        self.buffer.take(output.len(), &mut self.taken, CancelCheck(&|| self.reader.gives_up()))?;
        let mut filled = 0;
        for frame in self.taken.drain(..) {
            output[filled..filled + frame.len()].copy_from_slice(&frame);
            filled += frame.len();
        }
        if let Some(traffic) = self.reader.traffic {
            traffic.count_bytes(filled as u64);
        }
        Ok(filled)
    }

    /// Discards a body short enough to be read ahead. The connection can be reused if it ends within `timeout`.
    pub fn discard_body(self, timeout: Duration) {
        self.buffer.wait_for_end(timeout);
    }
}

async fn receive_response(
    client: &Client,
    request: Request,
    on_head: impl FnOnce(),
    buffer: &ResponseBuffer,
) -> reqwest::Result<()> {
    let stopwatch = Stopwatch::start();
    let mut response = stopwatch.measure(client.execute(request)).await?;
    let timing = stopwatch.head_arrived();
    on_head();
    buffer.set_head(Head {
        status: response.status(),
        headers: response.headers().clone(),
        // Taken before the body is read: reqwest reports how much of the length remains.
        content_length: response.content_length(),
        timing,
    });
    loop {
        let frame = {
            let mut next = pin!(response.chunk());
            match poll_until_idle(next.as_mut()).await {
                Some(frame) => frame,
                None => {
                    buffer.wake_reader();
                    next.await
                }
            }
        };
        match frame? {
            Some(bytes) => buffer.push(bytes).await,
            None => return Ok(()),
        }
    }
}

/// Polls a future until it is ready; `None` if the runtime has nothing else to do first.
async fn poll_until_idle<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut idle = pin!(yield_now());
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => idle.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Ends the response when the task ends for any reason, so that the reader never waits for a task that has ended.
struct FinishOnDrop(Arc<ResponseBuffer>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.finish(Err(ExchangeError::Ended));
    }
}

/// Aborts a task when its reader has finished with the response, or gives up on it.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
