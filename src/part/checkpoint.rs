//! Checkpoints: syncing bytes to disk, and then recording in the sidecar that they are there.

use std::time::{Duration, Instant};

use super::guarded_file::GuardedFile;
use super::move_aside::MoveLog;
use super::ownership::check_ownership;
use super::ranges::Ranges;
use super::sidecar::Sidecar;
use super::sidecar_file;
use crate::error::Error;

/// A sidecar is written again after this time even if nothing arrives: other machines presume an owner dead after a
/// minute without a checkpoint.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);

/// The last checkpoint of a part file, and whether more may follow.
#[derive(Debug)]
pub struct Checkpoint {
    /// The content of the sidecar. It names an owner while the part file belongs to this process.
    pub sidecar: Option<Sidecar>,
    saved: Instant,
    /// Whether automatic checkpoints have stopped, because the part file is about to be renamed or removed.
    is_closed: bool,
}

impl Checkpoint {
    pub fn new() -> Self {
        Self { sidecar: None, saved: Instant::now(), is_closed: false }
    }

    /// Starts a download, with a new sidecar or the current one, and `done` on disk.
    pub fn start(&mut self, sidecar: Option<Sidecar>, done: &Ranges, length: Option<u64>) {
        if sidecar.is_some() {
            self.sidecar = sidecar;
        }
        if let Some(sidecar) = &mut self.sidecar {
            (sidecar.done, sidecar.length) = (done.clone(), length.or(sidecar.length));
        }
        (self.saved, self.is_closed) = (Instant::now(), false);
    }

    /// Whether the last checkpoint is at least this old, and the next one is allowed.
    pub fn is_due(&self, interval: Duration) -> bool {
        self.saved.elapsed() >= interval && !self.is_closed
    }

    /// Syncs the bytes to disk and then records `written` in the sidecar, if it is not recorded yet.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] or [`Error::PartChanged`] if another process took the part file over or changed it, or
    /// [`Error::Disk`] if the bytes cannot be synced.
    pub fn save(&mut self, written: Ranges, file: &GuardedFile, moved: &MoveLog) -> Result<(), Error> {
        let Some(sidecar) = &self.sidecar else { return Ok(()) };
        let has_new_bytes = sidecar.validator.is_some() && !file.has_sync_failure() && written != sidecar.done;
        if !has_new_bytes && self.saved.elapsed() < REFRESH_INTERVAL {
            return Ok(());
        }
        let mut sidecar = sidecar.clone();
        check_ownership(file, &sidecar, moved)?;
        file.check_not_truncated()?;
        self.saved = Instant::now();
        if has_new_bytes {
            file.sync_data()?;
            (sidecar.done, sidecar.failed_resumes, sidecar.unusable_responses) = (written, 0, 0);
        }
        // If it cannot be written, the last one stays and records less.
        if sidecar_file::save(&file.path, &sidecar, moved).is_ok() {
            self.sidecar = Some(sidecar);
        }
        Ok(())
    }

    /// Stops automatic checkpoints.
    pub fn close(&mut self) {
        self.is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::time::SystemTime;

    use super::super::PartFile;
    use super::super::paths::sidecar_path;
    use super::*;
    use crate::url::WebUrl;

    #[test]
    fn a_sidecar_is_written_again_even_if_nothing_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let mut part = PartFile::create(&path).unwrap();
        part.start(&WebUrl::parse("http://h/x").unwrap(), None, None).unwrap();
        let before = fs::read(sidecar_path(&path)).unwrap();
        let age = || {
            let written = sidecar_path(&path).metadata().unwrap().modified().unwrap();
            SystemTime::now().duration_since(written).unwrap_or_default()
        };
        let old = SystemTime::now() - Duration::from_secs(50);
        OpenOptions::new().write(true).open(sidecar_path(&path)).unwrap().set_modified(old).unwrap();
        for (seconds, is_refreshed) in [(14, false), (15, true)] {
            // A machine that has just booted has no earlier time.
            let Some(saved) = Instant::now().checked_sub(Duration::from_secs(seconds)) else { return };
            part.shared().lock_checkpoint().saved = saved;
            part.shared().save_checkpoint_after(Duration::from_millis(700)).unwrap();
            assert_eq!(age() < Duration::from_secs(40), is_refreshed, "{seconds}");
        }
        assert_eq!(fs::read(sidecar_path(&path)).unwrap(), before);
    }
}
