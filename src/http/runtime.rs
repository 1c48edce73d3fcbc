//! A thread that runs a tokio runtime and does the network I/O of many requests.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

/// A runtime on its own thread. Dropping it ends its tasks and joins the thread.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts a runtime; its thread is named after `number`.
    ///
    /// # Errors
    ///
    /// The system has run out of threads or file descriptors.
    pub fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name(format!("tdl-io-{number}"))
            .spawn(move || runtime.block_on(stopped.notified()))?;
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    /// The handle for spawning tasks.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
