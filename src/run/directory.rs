//! The output directory: created if missing, and checked before the first request.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::options::{IfExists, Output};
use crate::part::{self, TargetState};
use crate::plan::Plan;

/// Checks that files can be created in the output directory. It may be read-only if every file exists and none is to be
/// replaced: running a finished list again succeeds there. Where the server names files, it is unknown which exist.
pub fn check_writable(plan: &Plan, output: &Output) -> Result<(), Error> {
    let is_missing = |path: &Path| part::target_state(path).is_ok_and(|state| state == TargetState::Free);
    let wants_a_file = || match output.if_exists {
        IfExists::Overwrite | IfExists::Rename => !plan.downloads().is_empty(),
        _ if output.remote_name => !plan.downloads().is_empty(),
        IfExists::Skip | IfExists::Fail | IfExists::Update => {
            plan.downloads().iter().any(|download| is_missing(&download.target().path_in(&output.directory)))
        }
    };
    // The directory first: checking every file of a long list takes longer, especially on a network file system.
    part::check_writable(&output.directory).or_else(|failure| if wants_a_file() { Err(failure) } else { Ok(()) })
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
