//! Wakes a thread that waits for a response which is not needed any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Wake;

use super::response_buffer::ResponseBuffer;

/// Interrupts the requests of one client. As a [`Waker`](std::task::Waker), it can be given to those who know nothing
/// of HTTP. Once it is woken, every wait of the client ends at once with
/// [`Error::Cancelled`](crate::error::Error::Cancelled), until it is [reset](Self::reset).
#[derive(Debug, Default)]
pub struct Interrupt {
    is_set: AtomicBool,
    /// The response that the client's thread waits for, or waited for last.
    buffer: Mutex<Weak<ResponseBuffer>>,
}

impl Interrupt {
    /// Whether it was woken.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Ends an interruption, before the next request.
    pub fn reset(&self) {
        self.is_set.store(false, Ordering::Release);
    }

    /// Sets the response that the client's thread will wait for.
    pub(super) fn set_buffer(&self, buffer: &Arc<ResponseBuffer>) {
        *self.buffer() = Arc::downgrade(buffer);
    }

    fn buffer(&self) -> MutexGuard<'_, Weak<ResponseBuffer>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Interrupt {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the buffer is read: a thread that sets another buffer after that will see it.
        self.is_set.store(true, Ordering::Release);
        let buffer = self.buffer().upgrade();
        if let Some(buffer) = buffer {
            buffer.wake_reader();
        }
    }
}
