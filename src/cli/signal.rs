//! Signals that ask the process to end: the first is handed to whoever ends the run in good order, the second ends at
//! once. The one that says that a file grows beyond the limit (`ulimit -f`) ends nothing: the write that it is about
//! fails, and with it that file alone.

use std::io;

pub use imp::listen;

/// A signal's number, as in the exit code 128 + number.
pub type Signal = u8;

#[cfg(unix)]
mod imp {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;

    use super::*;
    use crate::cli::exit::Exit;

    /// Calls `first` from a thread of its own at the first SIGINT, SIGTERM or SIGHUP.
    /// Those that were ignored when the process began, as under nohup, stay so.
    ///
    /// # Errors
    ///
    /// The handlers cannot be installed, or the thread cannot be started.
    pub fn listen(first: impl FnOnce(Signal) + Send + 'static) -> io::Result<()> {
        // Its default is to kill the process. With any handler the write fails with EFBIG.
        flag::register(SIGXFSZ, Arc::default())?;
        let heard: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        // One that comes between two of the steps below would be lost.
        let blocked = Blocked::new(&heard)?;
        let seen = Arc::new(AtomicBool::new(false));
        for signal in &heard {
            // The order counts: the shutdown looks at the flag before the first signal sets it.
            let code = Exit::Interrupted(u8::try_from(*signal).unwrap_or_default()).code();
            flag::register_conditional_shutdown(*signal, i32::from(code), Arc::clone(&seen))?;
            flag::register(*signal, Arc::clone(&seen))?;
        }
        let mut signals = Signals::new(heard)?;
        drop(blocked);
        std::thread::Builder::new().name("tdl-signals".to_owned()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                first(u8::try_from(signal).unwrap_or_default());
            }
        })?;
        Ok(())
    }

    /// Signals that wait, as far as this thread is concerned, until it is dropped. A thread that was started before still
    /// takes them as they come.
    struct Blocked {
        before: libc::sigset_t,
    }

    impl Blocked {
        #[expect(unsafe_code, reason = "std and signal-hook cannot block a signal")]
        fn new(signals: &[i32]) -> io::Result<Self> {
            // SAFETY: all zeroes are a valid `sigset_t`, which `sigemptyset` then makes the empty one.
            let (mut set, mut before) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            // SAFETY: the set is valid for writing.
            unsafe { libc::sigemptyset(&raw mut set) };
            for signal in signals {
                // SAFETY: the set is initialized.
                unsafe { libc::sigaddset(&raw mut set, *signal) };
            }
            // SAFETY: both sets are valid.
            match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) } {
                0 => Ok(Self { before }),
                code => Err(io::Error::from_raw_os_error(code)),
            }
        }
    }

    impl Drop for Blocked {
        #[expect(unsafe_code, reason = "std and signal-hook cannot block a signal")]
        fn drop(&mut self) {
            // SAFETY: the set was filled in by the call that blocked the signals.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
        }
    }

    #[expect(unsafe_code, reason = "std and signal-hook cannot tell how a signal is handled")]
    fn is_ignored(signal: i32) -> bool {
        // SAFETY: all zeroes are a valid `sigaction`.
        let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: without a new action, the call only writes the present one to a place that is valid.
        let known = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut current) } == 0;
        known && current.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(windows)]
mod imp {
    use super::*;
    use crate::cli::exit::Exit;

    /// Calls `first` at the first Ctrl-C, Ctrl-Break or closing of the console.
    ///
    /// # Errors
    ///
    /// The handler cannot be installed.
    pub fn listen(first: impl FnOnce(Signal) + Send + 'static) -> io::Result<()> {
        const INTERRUPT: Signal = 2;
        let mut first = Some(first);
        let handler = move || match first.take() {
            Some(first) => first(INTERRUPT),
            #[expect(clippy::exit, reason = "the second one ends at once")]
            None => std::process::exit(Exit::Interrupted(INTERRUPT).code().into()),
        };
        ctrlc::set_handler(handler).map_err(io::Error::other)
    }
}
