//! The output directory and those below it: created if missing, and checked before they are used.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::options::{IfExists, Output};
use crate::part::{self, TargetState};
use crate::plan::{Plan, Target};

/// Checks that files can be created in the output directory. It may be read-only if every file exists and none is to be
/// replaced: running a finished list again succeeds there. Where the server names files, it is unknown which exist.
pub fn check_writable(plan: &Plan, output: &Output) -> Result<(), Error> {
    let is_missing = |path: &Path| part::target_state(path).is_ok_and(|state| state == TargetState::Free);
    let wants_a_file = || match output.if_exists {
        IfExists::Overwrite | IfExists::Rename => !plan.is_empty(),
        _ if output.remote_name => !plan.is_empty(),
        IfExists::Skip | IfExists::Fail | IfExists::Update => {
            plan.downloads().any(|download| is_missing(&download.target().path_in(&output.directory)))
        }
    };
    // The directory first: checking every file of a long list takes longer, especially on a network file system.
    part::check_writable(&output.directory).or_else(|failure| if wants_a_file() { Err(failure) } else { Ok(()) })
}

/// Whether a download must have another target: something exists there, and is to be kept.
pub fn must_avoid(target: &Target, output: &Output) -> bool {
    output.if_exists == IfExists::Rename && is_taken(&target.path_in(&output.directory))
}

/// Whether something exists at the path. If that cannot be determined, the download itself reports why.
pub fn is_taken(path: &Path) -> bool {
    matches!(part::target_state(path), Ok(TargetState::Occupied { .. } | TargetState::NotAFile))
}

/// Creates a directory and its missing parents. If `durable`, their names are synced to disk: a file in a directory
/// that a power failure removes is lost as well.
pub fn create_directory(path: &Path, durable: bool) -> Result<(), Error> {
    let refused = |source| Error::Disk { action: "create the directory", path: path.to_owned(), source };
    if let Some(file) = path.ancestors().find(|ancestor| ancestor.exists()).filter(|ancestor| !ancestor.is_dir()) {
        let (action, what) = if file == path {
            ("create the directory", "a file has that name")
        } else {
            ("create a directory in", "it is a file")
        };
        let source = io::Error::new(io::ErrorKind::NotADirectory, what);
        return Err(Error::Disk { action, path: file.to_owned(), source });
    }
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    std::fs::create_dir_all(path).map_err(refused)?;
    if durable {
        for created in missing {
            part::sync_parent(created)?;
        }
    }
    Ok(())
}

/// Creates the directories between the output directory and a target.
///
/// # Errors
///
/// [`Error::Disk`] if something else has the name of one, such as a symbolic link, which could lead out of the output
/// directory.
pub fn create_directories_of(target: &Target, output: &Output) -> Result<(), Error> {
    let directory = target.directory();
    directory.map_or(Ok(()), |directory| part::create_below(&output.directory, directory, output.fsync))
}

/// Refuses a target that cannot be below the output directory, because a symbolic link or a file is on the way.
///
/// # Errors
///
/// [`Error::Disk`], as for [`create_directories_of`].
pub fn refuse_links(target: &Target, output_directory: &Path) -> Result<(), Error> {
    match target.directory().filter(|directory| !part::is_path_of_directories(output_directory, directory)) {
        // Creating it fails, and says what is on the way.
        Some(directory) => part::create_below(output_directory, directory, false),
        None => Ok(()),
    }
}
