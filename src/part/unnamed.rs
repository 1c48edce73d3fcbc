//! Small files, written without a name and then linked to their final one. They need no part file, so none can be left
//! behind, and only half as many system calls.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use super::errors::disk_error;
use super::platform;
use super::source_mark::mark_source;
use crate::error::Error;
use crate::url::SourceId;

/// A whole file without a name.
#[derive(Debug)]
pub struct UnnamedFile(File);

/// What a file has beside its bytes. What the file system cannot keep is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileMetadata {
    /// Its modification time, if that is not to be now.
    pub modified: Option<SystemTime>,
    /// The source that it is marked with.
    pub source: Option<SourceId>,
}

/// The result of giving an unnamed file its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It has the name.
    Linked,
    /// Something else has the name.
    NameTaken,
    /// This file system cannot do it.
    Unsupported,
}

impl UnnamedFile {
    /// Writes a whole file into `directory`, and syncs it to disk if `sync`; `None` if unnamed files are unsupported.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if the bytes cannot be written or synced.
    pub fn write(directory: &Path, bytes: &[u8], metadata: FileMetadata, sync: bool) -> Result<Option<Self>, Error> {
        // Whatever the reason, creating a named file reports it better.
        let Ok(mut file) = platform::open_unnamed(directory) else { return Ok(None) };
        file.write_all(bytes).map_err(|error| disk_error("write to", directory, error))?;
        if let Some(time) = metadata.modified {
            let _ = file.set_modified(time);
        }
        if let Some(source) = metadata.source {
            mark_source(&file, source);
        }
        if sync {
            file.sync_all().map_err(|error| disk_error("sync a file in", directory, error))?;
        }
        Ok(Some(Self(file)))
    }

    /// Gives the file the name `target`, unless something has it.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if the name cannot be created.
    pub fn link(&self, target: &Path) -> Result<LinkOutcome, Error> {
        match platform::link_unnamed(&self.0, target) {
            Ok(()) => Ok(LinkOutcome::Linked),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(LinkOutcome::NameTaken),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(LinkOutcome::Unsupported),
            Err(error) => Err(disk_error("create", target, error)),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let metadata = FileMetadata { modified: Some(time), source: None };
        let Some(file) = UnnamedFile::write(dir.path(), b"whole", metadata, true).unwrap() else {
            // Unsupported on this file system.
            return;
        };
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let (taken, free) = (dir.path().join("taken"), dir.path().join("free"));
        fs::write(&taken, "the user's").unwrap();
        assert_eq!(file.link(&taken).unwrap(), LinkOutcome::NameTaken);
        assert_eq!(file.link(&free).unwrap(), LinkOutcome::Linked);
        assert_eq!((fs::read(&taken).unwrap(), fs::read(&free).unwrap()), (b"the user's".to_vec(), b"whole".to_vec()));
        assert_eq!(free.metadata().unwrap().modified().unwrap(), time);
        assert!(UnnamedFile::write(&dir.path().join("missing"), b"", metadata, false).unwrap().is_none());
    }
}
