//! Whether a part file or sidecar can be tdl's own. Other users who can write to the directory can put anything under
//! these names.

use std::fs::Metadata;
use std::io;
use std::path::Path;

/// Returns what is wrong with a file, as a predicate to follow its path in a message; `None` if tdl could have created
/// it in `directory`. If its owner or mode is unusual, it is compared with a file just created there: root-squashed
/// NFS, vfat and CIFS assign owners and modes of their own.
///
/// # Errors
///
/// The error if no file could be created for the comparison.
#[cfg(unix)]
pub fn find_trust_problem(meta: &Metadata, directory: &Path) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::MetadataExt as _;

    use super::probe::probe;

    /// Write permission for the group and for others.
    const SHARED: u32 = 0o022;

    if meta.nlink() > 1 {
        return Ok(Some("has another hard link"));
    }
    let is_own = meta.uid() == rustix::process::geteuid().as_raw();
    if is_own && meta.mode() & SHARED == 0 {
        return Ok(None);
    }
    let created = probe(directory)?;
    Ok(if meta.uid() != created.uid() {
        Some("belongs to another user")
    } else if meta.mode() & SHARED & !created.mode() != 0 {
        Some("is writable by other users")
    } else {
        None
    })
}

/// Owners and modes are not checked on this platform.
#[cfg(not(unix))]
pub const fn find_trust_problem(_: &Metadata, _: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_with_two_names_or_writable_by_others_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "").unwrap();
        let check = || find_trust_problem(&path.metadata().unwrap(), dir.path()).unwrap();
        assert_eq!(check(), None);
        let own = path.metadata().unwrap().permissions().mode() & 0o777;
        for mode in [own, 0o600, 0o444, own | 0o002, own | 0o020] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check().is_some(), mode & 0o022 & !own != 0, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(own)).unwrap();
        fs::hard_link(&path, dir.path().join("y")).unwrap();
        assert_eq!(check(), Some("has another hard link"));
    }

    #[test]
    fn a_file_of_another_user_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "").unwrap();
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            // Only root can give a file away.
            return;
        }
        let meta = path.metadata().unwrap();
        assert_eq!(find_trust_problem(&meta, dir.path()).unwrap(), Some("belongs to another user"));
    }
}
