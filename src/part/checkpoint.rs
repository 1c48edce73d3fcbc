//! What of a part file is claimed to be on the disk, and by whom: the sidecar while the file is being filled.

use std::time::{Duration, Instant};

use super::shared_part::{Checkpoint, Interference, SharedPart};
use super::sidecar::Sidecar;
use super::{disk, locked, platform, sidecar_file};
use crate::error::Error;

/// A sidecar is written again after this time even if nothing arrived: other machines take an owner for dead after a
/// minute without a checkpoint.
const REFRESHED_AFTER: Duration = Duration::from_secs(15);

impl SharedPart {
    /// Notes how many requests in a row for the rest have failed or were answered by something else, to be saved with what
    /// is next.
    pub(super) fn note_failed_resumes(&self, failed: u32, unusable: u32) {
        if let Some(sidecar) = &mut self.checkpoint().sidecar {
            (sidecar.failed_resumes, sidecar.unusable_answers) = (failed, unusable);
        }
    }

    /// Whether what has arrived can be gone on with.
    pub(super) fn is_resumable(&self) -> bool {
        self.received() > 0 && self.checkpoint().sidecar.as_ref().is_some_and(|sidecar| sidecar.validator.is_some())
    }

    /// Claims what has arrived: first the bytes are put onto the disk, then the sidecar says so.
    pub(super) fn save(&self) -> Result<(), Error> {
        self.save_in(&mut self.checkpoint())
    }

    /// Claims what has arrived since the last time, if that was so long ago and the part file still is one.
    pub(super) fn save_after(&self, time: Duration) -> Result<(), Error> {
        let mut checkpoint = self.checkpoint();
        let is_due = checkpoint.saved.elapsed() >= time && !checkpoint.is_closed;
        if is_due { self.save_in(&mut checkpoint) } else { Ok(()) }
    }

    fn save_in(&self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        let Some(sidecar) = &checkpoint.sidecar else { return Ok(()) };
        let arrived = self.arrived();
        let is_news = sidecar.validator.is_some() && self.damage.get().is_none() && arrived != sidecar.done;
        if !is_news && checkpoint.saved.elapsed() < REFRESHED_AFTER {
            return Ok(());
        }
        let mut sidecar = sidecar.clone();
        self.check_owner(&sidecar)?;
        self.check_end()?;
        checkpoint.saved = Instant::now();
        if is_news {
            self.file.sync_data().or_else(|error| self.damaged(error))?;
            (sidecar.done, sidecar.failed_resumes, sidecar.unusable_answers) = (arrived, 0, 0);
        }
        // If it cannot be written, the last one stays and claims less.
        if sidecar_file::save(&self.path, &sidecar, &self.moved).is_ok() {
            checkpoint.sidecar = Some(sidecar);
        }
        Ok(())
    }

    /// Whether this process has claimed the part file and not let go of it since.
    pub(super) fn is_claimed(&self) -> bool {
        self.checkpoint().sidecar.as_ref().is_some_and(|sidecar| sidecar.owner.is_some())
    }

    /// Checks on the disk that the part file is still this process's, as it must be to be cut or removed.
    pub(super) fn check_held(&self) -> Result<(), Error> {
        let sidecar = self.checkpoint().sidecar.clone();
        sidecar.map_or_else(|| Err(locked(&self.path)), |sidecar| self.check_owner(&sidecar))
    }

    fn check_owner(&self, sidecar: &Sidecar) -> Result<(), Error> {
        self.check_interference()?;
        if self.names_owner(sidecar)? { Ok(()) } else { self.interfered(Interference::TakenOver) }
    }

    /// Whether the part file is certain to be this process's still, even if its bytes were changed.
    pub(super) fn is_held(&self) -> bool {
        let sidecar = self.checkpoint().sidecar.clone();
        sidecar.is_some_and(|sidecar| self.names_owner(&sidecar).unwrap_or(false))
    }

    /// Whether the sidecar on the disk names this process as the owner. If it cannot be read, that says nothing.
    fn names_owner(&self, sidecar: &Sidecar) -> Result<bool, Error> {
        let Some(owner) = &sidecar.owner else { return Ok(false) };
        Ok(sidecar_file::is_held_by(&self.path, owner)?
            || (self.is_in_place()? && sidecar_file::restore(&self.path, sidecar, &self.moved)?))
    }

    /// Whether the path still names this file.
    fn is_in_place(&self) -> Result<bool, Error> {
        let meta = self.file.metadata();
        let is_at = meta.and_then(|meta| platform::is_at(&self.file, &meta, &self.path));
        is_at.map_err(|source| disk("look at", &self.path, source))
    }

    /// Gives up ownership, for another process or a later attempt; returns how many bytes the sidecar claims.
    pub(super) fn release(&self) -> Result<u64, Error> {
        let Some(sidecar) = self.sidecar() else { return Ok(0) };
        self.check_owner(&sidecar)?;
        let sidecar = sidecar.owned_by(None);
        sidecar_file::save(&self.path, &sidecar, &self.moved)?;
        self.forget();
        Ok(sidecar.done.count())
    }

    /// Drops the claim without touching the disk.
    pub(super) fn forget(&self) {
        self.checkpoint().sidecar = None;
    }

    /// Nothing is saved from now on but by who asks for it; what is being saved is waited for.
    pub(super) fn stop_checkpoints(&self) {
        self.checkpoint().is_closed = true;
    }
}
