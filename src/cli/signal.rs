//! Handles signals that ask the process to end. The first is passed on, so that the run can shut down cleanly; the
//! second exits at once. SIGXFSZ, sent when a file exceeds the limit of `ulimit -f`, does not end the process: the
//! write fails, and with it only that file.

use std::io;
use std::sync::{Mutex, PoisonError};

/// A signal's number. The exit code is 128 plus this number.
pub type Signal = u8;

/// What is to happen at the first signal. The handlers are the process's, and so is this.
static LISTENER: Mutex<Listener> = Mutex::new(Listener { has_handlers: false, on_first: None });

struct Listener {
    has_handlers: bool,
    on_first: Option<Box<dyn FnOnce(Signal) + Send>>,
}

/// Calls `on_first` from a separate thread at the first SIGINT, SIGTERM or SIGHUP, or Ctrl-C, Ctrl-Break or closing of
/// the console, in place of what an earlier call has asked for. Signals that were ignored when the process started, as
/// under nohup, remain ignored.
///
/// # Errors
///
/// Returns an error if the handlers cannot be installed or the thread cannot be started.
pub fn listen(on_first: impl FnOnce(Signal) + Send + 'static) -> io::Result<()> {
    let mut listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if !listener.has_handlers {
        imp::install_handlers()?;
        listener.has_handlers = true;
    }
    listener.on_first = Some(Box::new(on_first));
    Ok(())
}

fn handle_first(signal: Signal) {
    let on_first = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).on_first.take();
    if let Some(on_first) = on_first {
        on_first(signal);
    }
}

#[cfg(unix)]
mod imp {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;

    use super::*;
    use crate::cli::exit::Exit;

    pub fn install_handlers() -> io::Result<()> {
        // The default action kills the process. With any handler installed, the write fails with EFBIG instead.
        flag::register(SIGXFSZ, Arc::default())?;
        let handled: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        // Blocked, because a signal that arrived between two of these steps would be lost.
        let blocked = BlockedSignals::new(&handled)?;
        let seen = Arc::new(AtomicBool::new(false));
        for signal in &handled {
            // The order matters: the conditional shutdown must read the flag before the first signal sets it.
            let code = Exit::Interrupted(u8::try_from(*signal).unwrap_or_default()).code();
            flag::register_conditional_shutdown(*signal, i32::from(code), Arc::clone(&seen))?;
            flag::register(*signal, Arc::clone(&seen))?;
        }
        let mut signals = Signals::new(handled)?;
        drop(blocked);
        std::thread::Builder::new().name("tdl-signals".to_owned()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                handle_first(u8::try_from(signal).unwrap_or_default());
            }
        })?;
        Ok(())
    }

    /// Blocks signals for this thread until dropped. Threads started earlier still receive them.
    struct BlockedSignals {
        previous: libc::sigset_t,
    }

    impl BlockedSignals {
        #[expect(unsafe_code, reason = "std and signal-hook cannot block a signal")]
        fn new(signals: &[i32]) -> io::Result<Self> {
            // SAFETY: an all-zero `sigset_t` is valid; `sigemptyset` then initializes it.
            let (mut set, mut previous) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            // SAFETY: the set is valid for writing.
            unsafe { libc::sigemptyset(&raw mut set) };
            for signal in signals {
                // SAFETY: the set is initialized.
                unsafe { libc::sigaddset(&raw mut set, *signal) };
            }
            // SAFETY: both sets are valid.
            match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut previous) } {
                0 => Ok(Self { previous }),
                code => Err(io::Error::from_raw_os_error(code)),
            }
        }
    }

    impl Drop for BlockedSignals {
        #[expect(unsafe_code, reason = "std and signal-hook cannot block a signal")]
        fn drop(&mut self) {
            // SAFETY: the set was initialized by the call that blocked the signals.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.previous, std::ptr::null_mut()) };
        }
    }

    #[expect(unsafe_code, reason = "std and signal-hook cannot tell how a signal is handled")]
    fn is_ignored(signal: i32) -> bool {
        // SAFETY: an all-zero `sigaction` is valid.
        let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: without a new action, the call only writes the current one, to a valid location.
        let known = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut current) } == 0;
        known && current.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(windows)]
mod imp {
    use super::*;
    use crate::cli::exit::Exit;

    pub fn install_handlers() -> io::Result<()> {
        const INTERRUPT: Signal = 2;
        let mut is_first = true;
        let handler = move || {
            if !std::mem::take(&mut is_first) {
                #[expect(clippy::exit, reason = "the second signal exits at once")]
                std::process::exit(Exit::Interrupted(INTERRUPT).code().into());
            }
            handle_first(INTERRUPT);
        };
        ctrlc::set_handler(handler).map_err(io::Error::other)
    }
}
