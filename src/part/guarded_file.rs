//! An open part file that detects when another process has changed it, or when the system has failed to sync it to
//! disk.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::errors::{disk_error, locked_error};
use super::platform;
use crate::error::Error;

/// Stands for the length of a file that was not preallocated.
const UNKNOWN: u64 = u64::MAX;

/// A part file that several threads may write to at once.
#[derive(Debug)]
pub struct GuardedFile {
    pub path: PathBuf,
    pub handle: File,
    /// The end of what has been written. The file is shorter only if another process truncated it.
    written_end: AtomicU64,
    /// The length that the file was preallocated to, and keeps until it is truncated; [`UNKNOWN`] if it grows as it is
    /// written.
    preallocated: AtomicU64,
    interference: OnceLock<Interference>,
    /// The error of a failed sync. The system reports it only once; afterwards no byte written since the last
    /// checkpoint can be trusted.
    sync_failure: OnceLock<io::Error>,
}

/// What another process did to the part file. Nothing more is written to it afterwards.
#[derive(Debug, Clone, Copy)]
pub enum Interference {
    /// It took over the file.
    TakenOver,
    /// It truncated or extended the file.
    Changed,
}

impl GuardedFile {
    pub const fn new(path: PathBuf, handle: File) -> Self {
        Self {
            path,
            handle,
            written_end: AtomicU64::new(0),
            preallocated: AtomicU64::new(UNKNOWN),
            interference: OnceLock::new(),
            sync_failure: OnceLock::new(),
        }
    }

    /// Forgets earlier writes: from now on, the file is taken to be written up to `written_end`.
    pub fn reset(&self, written_end: u64) {
        self.written_end.store(written_end, Ordering::SeqCst);
        self.preallocated.store(UNKNOWN, Ordering::SeqCst);
    }

    pub fn metadata(&self) -> Result<Metadata, Error> {
        self.handle.metadata().map_err(|error| disk_error("inspect", &self.path, error))
    }

    /// Whether the path still names this file, whose metadata is `meta`.
    pub fn is_in_place(&self, meta: &Metadata) -> Result<bool, Error> {
        platform::is_at(&self.handle, meta, &self.path).map_err(|error| disk_error("inspect", &self.path, error))
    }

    /// Writes bytes, unless another process changed the file or took it over.
    pub fn write_at(&self, bytes: &[u8], position: u64) -> Result<(), Error> {
        self.check_sync_failure()?;
        self.check_not_truncated()?;
        platform::write_at(&self.handle, bytes, position).map_err(|error| disk_error("write", &self.path, error))?;
        self.written_end.fetch_max(position + bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// Extends the file to its full length, if the file system can do that without writing zeros. From then on a
    /// truncation can always be detected: a later write cannot restore the full length. No thread may be writing.
    pub fn preallocate(&self, length: u64) -> io::Result<()> {
        let written_end = self.written_end.load(Ordering::SeqCst);
        let allocated = platform::preallocate(&self.handle, length);
        match (&self.handle).seek(SeekFrom::End(0))? {
            now if now == length && length > written_end => self.preallocated.store(length, Ordering::SeqCst),
            // It failed halfway.
            now if now > written_end => self.handle.set_len(written_end)?,
            _ => {}
        }
        allocated
    }

    /// Truncates the file. It may grow again. No thread may be writing.
    pub fn truncate(&self, length: u64) -> Result<(), Error> {
        self.preallocated.store(UNKNOWN, Ordering::SeqCst);
        self.handle.set_len(length).map_err(|error| disk_error("truncate", &self.path, error))
    }

    /// Checks that the file has its preallocated length, or else that it is not shorter than what has been written.
    /// Otherwise the next write would leave a hole of zeros, and the file would have the right length in the end.
    pub fn check_not_truncated(&self) -> Result<(), Error> {
        self.check_interference()?;
        // Loaded before the length is read: another thread may write in between.
        let written_end = self.written_end.load(Ordering::SeqCst);
        // Seeking takes 0.1 µs. On NFS, fstat would wait until the server has everything that was written.
        let length = (&self.handle).seek(SeekFrom::End(0)).map_err(|error| disk_error("inspect", &self.path, error))?;
        let is_intact = match self.preallocated.load(Ordering::SeqCst) {
            UNKNOWN => length >= written_end,
            preallocated => length == preallocated,
        };
        if is_intact { Ok(()) } else { Err(self.record_interference(Interference::Changed)) }
    }

    /// Checks that the file's `actual` length is the expected one.
    pub fn check_length(&self, actual: u64, expected: u64) -> Result<(), Error> {
        self.check_interference()?;
        if actual == expected { Ok(()) } else { Err(self.record_interference(Interference::Changed)) }
    }

    pub fn check_interference(&self) -> Result<(), Error> {
        self.interference.get().map_or(Ok(()), |interference| Err(self.record_interference(*interference)))
    }

    /// Records what another process did, and returns the error for it. The first record wins.
    pub fn record_interference(&self, interference: Interference) -> Error {
        match self.interference.get_or_init(|| interference) {
            Interference::TakenOver => locked_error(&self.path),
            Interference::Changed => Error::PartChanged(self.path.clone()),
        }
    }

    /// Syncs the bytes and the file's length to disk.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.check_sync_failure()?;
        self.handle.sync_all().map_err(|error| self.record_sync_failure(error))
    }

    /// Syncs the bytes to disk.
    pub fn sync_data(&self) -> Result<(), Error> {
        self.handle.sync_data().map_err(|error| self.record_sync_failure(error))
    }

    pub fn has_sync_failure(&self) -> bool {
        self.sync_failure.get().is_some()
    }

    /// Checks that no sync has failed so far.
    pub fn check_sync_failure(&self) -> Result<(), Error> {
        self.sync_failure.get().map_or(Ok(()), |failure| Err(self.to_error(failure)))
    }

    fn record_sync_failure(&self, error: io::Error) -> Error {
        // A file system that does not support syncing has lost nothing.
        if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) {
            return disk_error("sync", &self.path, error);
        }
        self.to_error(self.sync_failure.get_or_init(|| error))
    }

    /// Copies an error, which `io::Error` itself cannot do.
    fn to_error(&self, failure: &io::Error) -> Error {
        let copy = failure.raw_os_error().map_or_else(|| failure.kind().into(), io::Error::from_raw_os_error);
        disk_error("sync", &self.path, copy)
    }
}

#[cfg(test)]
mod tests {
    use super::super::part_file::PartFile;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_truncated_part_file_is_not_written_to_and_not_kept() {
        let check = |after: &dyn Fn(&mut PartFile) -> Result<(), Error>| {
            let dir = tempfile::tempdir().unwrap();
            let mut part = start_in(dir.path(), b"half");
            interfere(dir.path(), |file| file.set_len(0).unwrap());
            let changed = after(&mut part);
            assert!(matches!(changed, Err(Error::PartChanged(_))), "{changed:?}");
            assert_eq!(part.keep_for_resume(), 0);
            assert!(names(dir.path()).is_empty());
        };
        check(&|part| part.write(b" and rest"));
        check(&|part| part.shared.save_checkpoint());
        check(&|part| part.resume(13));
        check(&|part| {
            // As long as it was, but with zeros in it.
            part.write(b" and rest").unwrap_err();
            part.shared.file.handle.set_len(4).unwrap();
            part.write(b" and rest")
        });
    }

    /// Another process truncates the file between the check of its length and the next write, which makes it at least
    /// as long again.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_truncation_hidden_by_a_later_write_is_detected() {
        use super::super::commit::CommitMode;

        let check = |after: &dyn Fn(&mut PartFile) -> Result<(), Error>| {
            let dir = tempfile::tempdir().unwrap();
            let mut part = PartFile::create(&dir.path().join("x.part")).unwrap();
            part.start(&url(), validator().as_ref(), Some(20)).unwrap();
            part.reserve(20).unwrap();
            if part.shared.file.handle.metadata().unwrap().len() != 20 {
                // Unsupported on this file system.
                return;
            }
            part.write(b"half").unwrap();
            interfere(dir.path(), |file| {
                file.set_len(0).unwrap();
                platform::write_at(&file, b" and rest", 4).unwrap();
            });
            let changed = after(&mut part);
            assert!(matches!(changed, Err(Error::PartChanged(_))), "{changed:?}");
            assert_eq!(part.keep_for_resume(), 0);
            assert!(names(dir.path()).is_empty());
        };
        check(&|part| part.write(b" and rest"));
        check(&|part| part.shared.save_checkpoint());
        check(&|part| part.resume(20));
        check(&|part| part.commit(&part.path().with_file_name("x"), CommitMode::NoReplace).map(drop));
    }
}
