//! The paths of the files beside a target, derived from the part file's path. Does no I/O.

use std::path::{Path, PathBuf};

/// Returns the directory that contains `path`.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of a part file's sidecar.
pub fn sidecar_path(part: &Path) -> PathBuf {
    with_suffix(part, ".json")
}

/// Returns the path of the temporary file that is written first and then renamed over the sidecar.
pub fn temporary_path(part: &Path) -> PathBuf {
    with_suffix(part, ".tmp")
}

/// Returns where to move a file that is not tdl's.
pub fn moved_aside_path(path: &Path) -> PathBuf {
    with_suffix(path, ".kept")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
