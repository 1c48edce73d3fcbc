//! The mark on each file that tdl commits: an extended attribute that tells which source it came from. It moves with the
//! file, and nothing lies beside it.

use std::fs::File;
use std::path::Path;

use super::platform;
use crate::url::SourceId;

/// The hash as raw bytes. 32 of them fit into an inode of ext4 (256 bytes), beside what else is there; as hexadecimal
/// text they would take a block of 4 KiB for each file.
const NAME: &str = "user.tdl.source";

/// Marks a file. It must not have its final name yet: a file under that name is marked from the start.
///
/// Nothing fails if that cannot be done. Many file systems have no attributes, or no space for one more, and a file without
/// a mark is as good; a later run only cannot tell where it came from.
pub fn mark_source(file: &File, source: SourceId) {
    let _ = platform::set_attribute(file, NAME, source.as_bytes());
}

/// Reads the mark of the file at `path`; `None` if it has none, or something else under that name.
pub fn read_source_mark(path: &Path) -> Option<SourceId> {
    let mut value = [0; SourceId::LENGTH];
    let length = platform::read_attribute(path, NAME, &mut value).ok()?;
    (length == value.len()).then(|| value.into())
}

#[cfg(all(test, any(target_vendor = "apple", target_os = "linux")))]
mod tests {
    use std::fs;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_mark_is_the_hash_alone_and_anything_else_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("x"), dir.path().join("link"));
        let file = File::create(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_source_mark(&path), None);
        if platform::set_attribute(&file, NAME, b"").is_err() {
            // Unsupported on this file system.
            return;
        }
        let id = url().source_id();
        for other in [&b""[..], &id.as_bytes()[..31], &[id.as_bytes(), &b"x"[..]].concat()] {
            platform::set_attribute(&file, NAME, other).unwrap();
            assert_eq!(read_source_mark(&path), None, "{other:?}");
        }
        mark_source(&file, id);
        assert_eq!(read_source_mark(&path), Some(id));
        let mut value = [0; 99];
        assert_eq!(platform::read_attribute(&path, NAME, &mut value).unwrap(), 32);
        assert_eq!(read_source_mark(&link), None, "links are not followed");
        assert_eq!(read_source_mark(&dir.path().join("missing")), None);
        fs::rename(&path, dir.path().join("y")).unwrap();
        assert_eq!(read_source_mark(&dir.path().join("y")), Some(id));
    }

    #[test]
    fn a_mark_does_not_fail_where_it_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"").unwrap();
        mark_source(&File::open("/dev/null").unwrap(), url().source_id());
        assert_eq!(read_source_mark(Path::new("/dev/null")), None);
    }
}
