//! Moving a file that is not tdl's out of the way, so that nothing of it is lost.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::platform;
use crate::error::Error;
use crate::text::safe_path;

/// Renames the file at `path` to `path` with `.kept` appended. `why` says what is wrong with it ("is not tdl's"). There
/// is one `.kept` for each name, so that nothing piles up.
///
/// # Errors
///
/// [`Error::InTheWay`] if a `.kept` is there already, or if the rename is refused.
pub fn move_aside(path: &Path, why: &str) -> Result<PathBuf, Error> {
    let mut kept = OsString::from(path);
    kept.push(".kept");
    let kept = PathBuf::from(kept);
    let in_the_way = |help: String| Error::InTheWay { path: path.to_owned(), reason: format!("it {why}, and {help}") };
    match platform::rename_no_replace(path, &kept) {
        Ok(_) => Ok(kept),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a process that died in a rename by hard link.
            let is_done = path.symlink_metadata().is_ok_and(|meta| platform::is_link_to(&meta, &kept));
            if is_done && fs::remove_file(path).is_ok() {
                return Ok(kept);
            }
            Err(in_the_way(format!("{} is there already: remove or rename one of the two", safe_path(&kept))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::PartGone(path.to_owned())),
        Err(error) => {
            Err(in_the_way(format!("it cannot be moved aside ({error}): remove it, or choose another directory")))
        }
    }
}

/// What was moved aside for one part file, to be told to the user.
#[derive(Debug, Default)]
pub struct Moved(Mutex<Vec<String>>);

impl Moved {
    /// Moves a file aside, and takes note of it.
    ///
    /// # Errors
    ///
    /// As [`move_aside`].
    pub fn move_aside(&self, path: &Path, why: &str) -> Result<(), Error> {
        let kept = move_aside(path, why)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sentence(path, why, &kept));
        Ok(())
    }

    /// The sentences that nobody has taken yet.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the user is told of a file that was moved aside.
pub fn sentence(path: &Path, why: &str, kept: &Path) -> String {
    format!("{} {why}; it is {} now", safe_path(path), safe_path(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_of_a_name_is_kept_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let kept = dir.path().join("x.part.kept");
        fs::write(&path, "first").unwrap();
        assert_eq!(move_aside(&path, "is not tdl's").unwrap(), kept);
        fs::write(&path, "second").unwrap();
        let failure = move_aside(&path, "is not tdl's").unwrap_err();
        assert!(!failure.is_temporary());
        let text = failure.to_string();
        assert!(text.contains("x.part is in the way: it is not tdl's, and ") && text.contains("x.part.kept"), "{text}");
        assert_eq!((fs::read(&path).unwrap(), fs::read(&kept).unwrap()), (b"second".to_vec(), b"first".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn a_move_that_was_interrupted_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        fs::write(&path, "the user's").unwrap();
        fs::hard_link(&path, dir.path().join("x.part.kept")).unwrap();
        move_aside(&path, "is not tdl's").unwrap();
        assert!(!path.exists());
    }
}
