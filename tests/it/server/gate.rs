//! A gate at which a server waits until the test is ready.

use std::sync::{Condvar, Mutex};

use super::TIMEOUT;

#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    has_timed_out: bool,
}

impl Gate {
    /// Opens the gate, permanently.
    ///
    /// # Panics
    ///
    /// A server has waited too long: the test was slow to open it, or waited for the server in turn.
    #[track_caller]
    pub fn open(&self) {
        let mut state = self.state.lock().unwrap();
        assert!(!state.has_timed_out, "a server waited at this gate for more than {TIMEOUT:?}");
        state.is_open = true;
        self.changed.notify_all();
    }

    pub(super) fn wait(&self) {
        let state = self.state.lock().unwrap();
        let (mut state, _) = self.changed.wait_timeout_while(state, TIMEOUT, |state| !state.is_open).unwrap();
        state.has_timed_out = !state.is_open;
    }
}
