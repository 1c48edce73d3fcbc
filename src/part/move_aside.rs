//! Moving a file that is not tdl's out of the way, so that the user loses nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::paths::moved_aside_path;
use super::platform;
use crate::error::Error;
use crate::text::safe_path;

/// Renames the file at `path` to `path` with `.kept` appended. `why` says what is wrong with it ("is not tdl's"). There
/// is at most one `.kept` file for each name, so that they do not pile up.
///
/// # Errors
///
/// [`Error::InTheWay`] if there is already a `.kept` file, or if the rename fails.
pub fn move_aside(path: &Path, why: &str) -> Result<PathBuf, Error> {
    let kept = moved_aside_path(path);
    let in_the_way = |help: String| Error::InTheWay { path: path.to_owned(), reason: format!("it {why}, and {help}") };
    match platform::rename_no_replace(path, &kept) {
        Ok(_) => Ok(kept),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a process that died in a rename by hard link.
            let is_link = path.symlink_metadata().is_ok_and(|meta| platform::is_link_to(&meta, &kept));
            if is_link && fs::remove_file(path).is_ok() {
                return Ok(kept);
            }
            Err(in_the_way(format!("{} already exists; remove or rename one of them", safe_path(&kept))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::PartGone(path.to_owned())),
        Err(error) => {
            Err(in_the_way(format!("it cannot be moved aside ({error}); remove it, or choose another directory")))
        }
    }
}

/// Returns the message for the user about a file that was moved aside.
pub fn describe_move(path: &Path, why: &str, kept: &Path) -> String {
    format!("{} {why}; moved to {}", safe_path(path), safe_path(kept))
}

/// Collects messages for the user about files that were moved aside for one part file.
#[derive(Debug, Default)]
pub struct MoveLog(Mutex<Vec<String>>);

impl MoveLog {
    /// Moves a file aside and records it.
    ///
    /// # Errors
    ///
    /// Those of [`move_aside`].
    pub fn move_aside(&self, path: &Path, why: &str) -> Result<(), Error> {
        let kept = move_aside(path, why)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(describe_move(path, why, &kept));
        Ok(())
    }

    /// Returns the messages recorded since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_file_per_name_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let kept = dir.path().join("x.part.kept");
        fs::write(&path, "first").unwrap();
        assert_eq!(move_aside(&path, "is not tdl's").unwrap(), kept);
        fs::write(&path, "second").unwrap();
        let failure = move_aside(&path, "is not tdl's").unwrap_err();
        assert!(!failure.is_temporary());
        let text = failure.to_string();
        assert!(text.contains("x.part: it is not tdl's, and ") && text.contains("x.part.kept"), "{text}");
        assert_eq!((fs::read(&path).unwrap(), fs::read(&kept).unwrap()), (b"second".to_vec(), b"first".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupted_move_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        fs::write(&path, "the user's").unwrap();
        fs::hard_link(&path, dir.path().join("x.part.kept")).unwrap();
        move_aside(&path, "is not tdl's").unwrap();
        assert!(!path.exists());
    }
}
