//! What earlier attempts and runs left behind of a file.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::part::{Existing, PartFile};
use crate::url::WebUrl;

/// The part file of a target, if there is one, and where a second one may go.
///
/// While a part file is kept, the whole file may be received alongside it, in `NAME.part.new`. If a run is killed
/// in between, both are left. The longer one is used: that is `part`, whichever name it has.
pub struct Leftovers {
    pub part: Option<PartFile>,
    /// Where `part` is, or would be.
    pub part_path: PathBuf,
    /// Where the whole file is received while `part` is kept.
    pub replacement_path: PathBuf,
    /// Why what was found cannot be resumed.
    pub unusable_because: Option<String>,
    /// A message about a file that was moved aside.
    pub moved_aside: Option<String>,
}

impl Leftovers {
    /// No leftovers.
    fn none(part_path: PathBuf) -> Self {
        let replacement_path = replacement_path(&part_path);
        Self { part: None, part_path, replacement_path, unusable_because: None, moved_aside: None }
    }

    /// Opens the part file of `target`. Of two, the longer one is kept and the other discarded.
    pub fn open(part_path: PathBuf, target: &Path, url: &WebUrl) -> Result<Self, Error> {
        let Existing { part, unusable_because, moved_aside } = PartFile::open_existing(&part_path, target, url)?;
        let found = Self { part, unusable_because, moved_aside, ..Self::none(part_path) };
        let Some(replacement) = PartFile::open_replacement(&found.replacement_path, target, url)? else {
            return Ok(found);
        };
        if replacement.received() <= found.part.as_ref().map_or(0, PartFile::received) {
            replacement.discard();
            return Ok(found);
        }
        if let Some(part) = found.part {
            part.discard();
        }
        let (part_path, replacement_path) = (found.replacement_path, found.part_path);
        let moved_aside = found.moved_aside;
        Ok(Self { part: Some(replacement), part_path, replacement_path, unusable_because: None, moved_aside })
    }

    pub fn discard(self) {
        if let Some(part) = self.part {
            part.discard();
        }
    }
}

/// `NAME.part.new` for `NAME.part`.
pub fn replacement_path(part_path: &Path) -> PathBuf {
    let mut path = part_path.as_os_str().to_owned();
    path.push(".new");
    path.into()
}
