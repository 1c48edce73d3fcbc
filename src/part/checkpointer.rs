//! A thread that saves checkpoints of all running downloads about once a second, even if their threads are blocked.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::part_file::PartFile;
use super::shared_part::SharedPart;

/// While bytes arrive, a checkpoint is saved at least once a second. Bytes since the last one are downloaded again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(700);

/// How often the thread checks which downloads need a checkpoint.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Saves checkpoints of part files. Its thread starts with the first of them.
#[derive(Debug, Default)]
pub struct Checkpointer {
    parts: Arc<Mutex<Vec<Weak<SharedPart>>>>,
    thread: OnceLock<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Checkpointer {
    /// Saves checkpoints of a part file until it is dropped.
    pub fn watch(&self, part: &PartFile) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(part.shared()));
        self.thread.get_or_init(|| {
            let (stop_tx, stop_rx) = mpsc::channel();
            let parts = Arc::clone(&self.parts);
            let save_until_stopped = move || {
                while stop_rx.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    save_all(&parts);
                }
            };
            // Without the thread, a killed run has more to download again.
            let thread = thread::Builder::new().name("tdl-checkpointer".to_owned()).spawn(save_until_stopped).ok()?;
            Some((stop_tx, thread))
        });
    }
}

fn save_all(parts: &Mutex<Vec<Weak<SharedPart>>>) {
    let open: Vec<_> = {
        let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|shared| shared.strong_count() > 0);
        parts.iter().filter_map(Weak::upgrade).collect()
    };
    for shared in open {
        // The thread that writes to the file hits the same failure and reports it.
        let _ = shared.save_checkpoint_after(CHECKPOINT_INTERVAL);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(Some((stop_tx, thread))) = self.thread.take() {
            drop(stop_tx);
            let _ = thread.join();
        }
    }
}
