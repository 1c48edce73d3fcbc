//! Saves what running downloads have received, every second, whatever their threads are stuck in.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::PartFile;
use super::shared_part::SharedPart;

/// While bytes arrive a claim is saved at least once a second; what came since is asked for again.
const SAVED_AFTER: Duration = Duration::from_millis(700);

/// How often claims are looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// A thread that saves claims; there is none before there is something to save.
#[derive(Debug, Default)]
pub struct Checkpointer {
    fillings: Arc<Mutex<Vec<Weak<SharedPart>>>>,
    thread: OnceLock<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Checkpointer {
    /// Saves the claim of a part file from now on, until that goes.
    pub fn keep(&self, part: &PartFile) {
        self.fillings.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(part.shared()));
        self.thread.get_or_init(|| {
            let (stop, stopped) = mpsc::channel();
            let fillings = Arc::clone(&self.fillings);
            let keep = move || {
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    save_all(&fillings);
                }
            };
            // Without the thread more is asked for again after a kill, and nothing else is worse.
            let thread = thread::Builder::new().name("tdl-checkpointer".to_owned()).spawn(keep).ok()?;
            Some((stop, thread))
        });
    }
}

fn save_all(fillings: &Mutex<Vec<Weak<SharedPart>>>) {
    let kept: Vec<_> = {
        let mut fillings = fillings.lock().unwrap_or_else(PoisonError::into_inner);
        fillings.retain(|shared| shared.strong_count() > 0);
        fillings.iter().filter_map(Weak::upgrade).collect()
    };
    for shared in kept {
        // The thread that writes to the file sees what failed.
        let _ = shared.save_after(SAVED_AFTER);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(Some((stop, thread))) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
