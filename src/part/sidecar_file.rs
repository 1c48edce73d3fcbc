//! The sidecar on the disk: who may put it there, replace it and remove it.
//!
//! A sidecar names the process that owns its part file. Where there is none, it is put in place by a step that fails if
//! another process was faster. Every later change goes through `NAME.part.tmp`, which only one process can create at a
//! time: that process reads the sidecar once more, and then renames the temporary file over it. So of two processes
//! that find an owner dead, one takes over, even where locks do not work.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::move_aside::Moved;
use super::owner::{self, Live, Owner};
use super::probe::probe;
use super::sidecar::{self, Sidecar, fresh_path, path};
use super::unnamed::{Linked, UnnamedFile};
use super::{directory_of, disk, host, locked, platform, trust};
use crate::error::Error;

/// A sidecar larger than this is none of ours.
const LARGEST: u64 = 1024 * 1024;

/// Give up after another process was faster this many times.
const TRIES: usize = 4;

/// What is wrong with a file that tdl did not make.
pub const NOT_OURS: &str = "is not tdl's";

/// What has the name of a sidecar.
#[derive(Debug)]
pub enum Found {
    Nothing,
    /// Something that tdl did not make, or that is not safe to use: what is wrong with it.
    Foreign(&'static str),
    Ours(Record),
}

/// A sidecar that tdl made, of any version and for any download.
#[derive(Debug)]
pub struct Record {
    pub text: Vec<u8>,
    owner: Option<Owner>,
    written: Option<SystemTime>,
}

impl Record {
    /// Checks that no other process owns the part file. `lock_is_proof`: this process holds a lock that rules it out.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if one does.
    pub fn check_dead(&self, part: &Path, lock_is_proof: bool) -> Result<(), Error> {
        self.live(part, lock_is_proof).map_or(Ok(()), |live| Err(live.failure(part)))
    }

    fn live(&self, part: &Path, lock_is_proof: bool) -> Option<Live> {
        let age = || age(self.written?, directory_of(part));
        let owner = self.owner.as_ref().filter(|_| !lock_is_proof)?;
        owner::live(host::liveness(owner), age)
    }
}

impl Live {
    fn failure(self, part: &Path) -> Error {
        Error::Locked { path: part.to_owned(), free_in: self.free_in }
    }
}

/// Looks at the sidecar of `part`.
///
/// # Errors
///
/// It cannot be read.
pub fn look(part: &Path) -> Result<Found, Error> {
    let refused = |source| disk("read", &path(part), source);
    // Left by a process that died in a rename by hard link.
    let temporary = fresh_path(part).symlink_metadata();
    if temporary.is_ok_and(|meta| platform::is_link_to(&meta, &path(part))) {
        let _ = fs::remove_file(fresh_path(part));
    }
    Ok(match read(&path(part)).map_err(refused)? {
        Text::Missing => Found::Nothing,
        Text::Foreign(why) => Found::Foreign(why),
        Text::Read(text, meta) => match sidecar::owner_in(&text) {
            Some(owner) => Found::Ours(Record { text, owner, written: meta.modified().ok() }),
            None => Found::Foreign(NOT_OURS),
        },
    })
}

/// Checks that no process owns a part file that another user made. What its sidecar claims is not trusted, but a process
/// that it names is not disturbed.
///
/// # Errors
///
/// [`Error::Locked`] if one does.
pub fn check_foreign_dead(part: &Path, lock_is_proof: bool) -> Result<(), Error> {
    let path = path(part);
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.is_file() || meta.len() > LARGEST {
        return Ok(());
    }
    let text = platform::open_to_read(&path).and_then(|file| text_of(&file, &meta));
    let (text, owner) = match text {
        Ok(text) => {
            let owner = sidecar::owner_in(&text).flatten();
            (text, owner)
        }
        // Of whoever it names nothing is known.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (Vec::new(), Some(Owner::default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(disk("read", &path, source)),
    };
    Record { text, owner, written: meta.modified().ok() }.check_dead(part, lock_is_proof)
}

/// Whether the sidecar of `part` still names this owner: another process may have taken it for dead.
///
/// # Errors
///
/// It cannot be read, which says nothing of whose it is.
pub fn is_held_by(part: &Path, owner: &Owner) -> Result<bool, Error> {
    let path = path(part);
    let read = || {
        let file = match platform::open_to_read(&path) {
            // Another user's, a link or a directory.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || is_no_file(&path) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let meta = file.metadata()?;
        if meta.is_file() { text_of(&file, &meta).map(Some) } else { Ok(None) }
    };
    let text = read().map_err(|source| disk("read", &path, source))?;
    Ok(text.is_some_and(|text| sidecar::owner_in(&text).flatten().as_ref() == Some(owner)))
}

/// Puts a sidecar beside a `part` that has none, or none whose owner lives.
///
/// # Errors
///
/// [`Error::Locked`] if another process owns the part file, [`Error::InTheWay`] if something that is not tdl's has
/// the name and cannot be moved aside; or the disk refuses.
pub fn claim(part: &Path, sidecar: &Sidecar, lock_is_proof: bool, moved: &Moved) -> Result<(), Error> {
    let text = sidecar.text().map_err(|source| disk("write the sidecar of", part, source))?;
    for _ in 0..TRIES {
        if put_new(part, &text, moved)? {
            return Ok(());
        }
        match look(part)? {
            Found::Nothing => {}
            Found::Foreign(why) => moved.move_aside(&path(part), why)?,
            Found::Ours(record) => {
                record.check_dead(part, lock_is_proof)?;
                // Durably: after a power failure the old claim must not stand beside the new bytes.
                take_over(part, sidecar, &record, lock_is_proof, true, moved)?;
                return sync_directory(part);
            }
        }
    }
    Err(locked(part))
}

/// Replaces the sidecar that was `seen`, whose owner is dead; synced to disk if `durable`.
///
/// # Errors
///
/// [`Error::Locked`] if another process was first, or the disk refuses.
pub fn take_over(
    part: &Path,
    sidecar: &Sidecar,
    seen: &Record,
    lock_is_proof: bool,
    durable: bool,
    moved: &Moved,
) -> Result<(), Error> {
    let refused = |source| disk("write the sidecar of", part, source);
    let text = sidecar.text().map_err(refused)?;
    make_temporary(part, &text, durable, lock_is_proof, moved)?;
    let is_unchanged = matches!(look(part), Ok(Found::Ours(now)) if now.text == seen.text);
    let is_done = is_unchanged && fs::rename(fresh_path(part), path(part)).is_ok();
    if !is_done {
        let _ = fs::remove_file(fresh_path(part));
    }
    // Another process may have taken our temporary file for an abandoned one, and used its own instead.
    let is_ours = || sidecar.owner.as_ref().map_or(Ok(true), |owner| is_held_by(part, owner));
    if is_done && is_ours()? { Ok(()) } else { Err(locked(part)) }
}

/// Puts the caller's sidecar back if none is there. Somebody removed it by hand: a process that takes a part file over
/// replaces its sidecar, and removes it only after the part file. Returns whether it is there again.
///
/// # Errors
///
/// It cannot be written.
pub fn restore(part: &Path, sidecar: &Sidecar, moved: &Moved) -> Result<bool, Error> {
    let is_missing = path(part).symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if !is_missing {
        return Ok(false);
    }
    let text = sidecar.text().map_err(|source| disk("write the sidecar of", part, source))?;
    put_new(part, &text, moved)
}

/// Replaces the sidecar of `part`, which is the caller's. The bytes that it claims must be on the disk already.
///
/// # Errors
///
/// It cannot be written; the last one stays.
pub fn save(part: &Path, sidecar: &Sidecar, moved: &Moved) -> Result<(), Error> {
    let refused = |source| disk("write the sidecar of", part, source);
    let text = sidecar.text().map_err(refused)?;
    make_temporary(part, &text, false, false, moved)?;
    fs::rename(fresh_path(part), path(part)).map_err(refused).inspect_err(|_| _ = fs::remove_file(fresh_path(part)))
}

/// Removes the sidecar of `part`, which is the caller's.
pub fn remove(part: &Path) {
    let _ = fs::remove_file(path(part));
}

/// Removes a sidecar whose part file is missing, and an abandoned temporary file beside it.
///
/// # Errors
///
/// [`Error::Locked`] if its owner lives: it has just renamed its part file to the target, or somebody removed that.
pub fn remove_orphan(part: &Path) -> Result<(), Error> {
    // In this order: another process creates its part file before its sidecar.
    let Ok(Found::Ours(record)) = look(part) else { return Ok(()) };
    record.check_dead(part, false)?;
    if part.symlink_metadata().is_err() {
        remove(part);
        remove_unfinished(part, false);
    }
    Ok(())
}

/// Removes the temporary file of a process that died, if tdl is certain to have made it.
pub fn remove_unfinished(part: &Path, lock_is_proof: bool) {
    if let Unfinished::Abandoned = judge_temporary(part, lock_is_proof) {
        let _ = fs::remove_file(fresh_path(part));
    }
}

/// Creates a sidecar; `false` if one exists.
fn put_new(part: &Path, text: &[u8], moved: &Moved) -> Result<bool, Error> {
    match link(&path(part), text, false)? {
        Linked::Done => return Ok(true),
        Linked::Taken => return Ok(false),
        Linked::Unsupported => {}
    }
    make_temporary(part, text, false, false, moved)?;
    match platform::rename_no_replace(&fresh_path(part), &path(part)) {
        Ok(_) => Ok(true),
        Err(error) => {
            let _ = fs::remove_file(fresh_path(part));
            let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
            if is_taken { Ok(false) } else { Err(disk("write the sidecar of", part, error)) }
        }
    }
}

/// Creates a file that has all of its bytes from the moment it appears.
fn link(at: &Path, text: &[u8], durable: bool) -> Result<Linked, Error> {
    match UnnamedFile::write(directory_of(at), text, None, durable)? {
        Some(file) => file.link(at),
        None => Ok(Linked::Unsupported),
    }
}

/// Creates the temporary file of `part`, which only one process can have at a time.
fn make_temporary(part: &Path, text: &[u8], durable: bool, lock_is_proof: bool, moved: &Moved) -> Result<(), Error> {
    let at = fresh_path(part);
    for _ in 0..TRIES {
        let made = match link(&at, text, durable)? {
            Linked::Done => return Ok(()),
            Linked::Taken => Err(io::ErrorKind::AlreadyExists.into()),
            Linked::Unsupported => write_new(&at, text, durable),
        };
        match made {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(disk("write the sidecar of", part, source)),
        }
        match judge_temporary(part, lock_is_proof) {
            Unfinished::Nothing => {}
            Unfinished::Abandoned => _ = fs::remove_file(&at),
            Unfinished::Foreign(why) => moved.move_aside(&at, why)?,
            Unfinished::Live(live) => return Err(live.failure(part)),
        }
    }
    Err(locked(part))
}

/// Creates a file and then writes it, where unnamed files are not supported.
fn write_new(at: &Path, text: &[u8], durable: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(at)?;
    let written = file.write_all(text).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
    written.inspect_err(|_| _ = fs::remove_file(at))
}

/// What has the name of a temporary file.
enum Unfinished {
    Nothing,
    /// A process is writing it.
    Live(Live),
    /// What tdl writes, or the beginning of it, by a process that died.
    Abandoned,
    Foreign(&'static str),
}

fn judge_temporary(part: &Path, lock_is_proof: bool) -> Unfinished {
    let (text, meta) = match read(&fresh_path(part)) {
        Ok(Text::Missing) => return Unfinished::Nothing,
        Ok(Text::Foreign(why)) => return Unfinished::Foreign(why),
        Ok(Text::Read(text, meta)) => (text, meta),
        Err(_) => return Unfinished::Live(Live { free_in: None }),
    };
    let record = Record { owner: sidecar::owner_in(&text).flatten(), text, written: meta.modified().ok() };
    let is_whole = sidecar::owner_in(&record.text).is_some();
    let unknown = || owner::live(owner::Liveness::Unknown, || age(record.written?, directory_of(part)));
    let live = match is_whole {
        true => record.live(part, lock_is_proof),
        false if lock_is_proof => None,
        false => unknown(),
    };
    match (sidecar::is_beginning(&record.text), live) {
        // A new one is empty for a moment; one that stays empty may be anyone's.
        (is_ours, Some(live)) if is_ours || record.text.is_empty() => Unfinished::Live(live),
        (true, _) => Unfinished::Abandoned,
        (false, _) => Unfinished::Foreign(NOT_OURS),
    }
}

/// What has been read of a file that may be anyone's.
enum Text {
    Missing,
    Foreign(&'static str),
    Read(Vec<u8>, Metadata),
}

fn read(path: &Path) -> io::Result<Text> {
    let file = match platform::open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Text::Missing),
        Err(_) if is_no_file(path) => return Ok(Text::Foreign(NOT_OURS)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Text::Foreign("cannot be read")),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Ok(Text::Foreign(NOT_OURS));
    }
    if let Some(why) = trust::objection(&meta, directory_of(path))? {
        return Ok(Text::Foreign(why));
    }
    Ok(Text::Read(text_of(&file, &meta)?, meta))
}

fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| !meta.is_file())
}

fn text_of(file: &File, meta: &Metadata) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(usize::try_from(meta.len().min(LARGEST)).unwrap_or_default() + 1);
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// How long ago a file was written, by the clock of its file system: machines that share one need not agree on the
/// time. A time in the future counts by its distance, in case that clock was set back.
fn age(written: SystemTime, directory: &Path) -> Option<Duration> {
    let now = probe(directory).ok()?.modified().ok()?;
    Some(now.duration_since(written).unwrap_or_else(|error| error.duration()))
}

fn sync_directory(part: &Path) -> Result<(), Error> {
    platform::sync_directory(directory_of(part)).map_err(|source| disk("write the sidecar of", part, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::WebUrl;

    fn sidecar() -> Sidecar {
        Sidecar::new(&WebUrl::parse("http://h/x").unwrap(), None, Some(100))
    }

    #[test]
    fn only_a_sidecar_of_tdls_is_removed_as_an_orphan() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        let text = String::from_utf8(sidecar().text().unwrap()).unwrap();
        let live = String::from_utf8(sidecar().owned_by(Some(host::new_owner())).text().unwrap()).unwrap();
        for (text, stays) in [
            (text.as_str(), false),
            ("{\"version\":9,\"url\":\"?\",\"new\":1,\"owner\":null}", false),
            // Of an owner in a newer form nothing is known.
            ("{\"version\":9,\"url\":\"?\",\"owner\":[1]}", true),
            (live.as_str(), true),
            ("{}", true),
            ("mine", true),
        ] {
            fs::write(path(&part), text).unwrap();
            assert_eq!(remove_orphan(&part).is_err(), text.contains("\"owner\":") && stays, "{text}");
            assert_eq!(path(&part).exists(), stays, "{text}");
        }
    }

    #[test]
    fn a_sidecar_takes_the_place_of_none_that_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        let (first, second) = (host::new_owner(), host::new_owner());
        claim(&part, &sidecar().owned_by(Some(first.clone())), false, &Moved::default()).unwrap();
        let late = claim(&part, &sidecar().owned_by(Some(second.clone())), false, &Moved::default());
        assert!(matches!(late, Err(Error::Locked { .. })), "{late:?}");
        assert!(is_held_by(&part, &first).unwrap() && !is_held_by(&part, &second).unwrap());
        // Without an owner: the first to claim it has it, and a process that read it before is too late.
        save(&part, &sidecar(), &Moved::default()).unwrap();
        let Ok(Found::Ours(seen)) = look(&part) else { panic!("it is there") };
        claim(&part, &sidecar().owned_by(Some(second.clone())), false, &Moved::default()).unwrap();
        let late = take_over(&part, &sidecar().owned_by(Some(first.clone())), &seen, false, false, &Moved::default());
        assert!(matches!(late, Err(Error::Locked { .. })), "{late:?}");
        assert!(is_held_by(&part, &second).unwrap() && !fresh_path(&part).exists());
        // The lock is proof on some platforms.
        claim(&part, &sidecar().owned_by(Some(first.clone())), true, &Moved::default()).unwrap();
        assert!(is_held_by(&part, &first).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_sidecar_and_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (part, elsewhere) = (dir.path().join("x.part"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, sidecar().text().unwrap()).unwrap();
        for name in ["x.part.json", "x.part.tmp"] {
            std::os::unix::fs::symlink(&elsewhere, dir.path().join(name)).unwrap();
        }
        assert!(matches!(look(&part), Ok(Found::Foreign(NOT_OURS))));
        let owner = Some(host::new_owner());
        claim(&part, &sidecar().owned_by(owner), false, &Moved::default()).unwrap();
        save(&part, &sidecar(), &Moved::default()).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), sidecar().text().unwrap());
        for kept in ["x.part.json.kept", "x.part.tmp.kept"] {
            assert!(dir.path().join(kept).is_symlink(), "{kept}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_rename_by_links_that_was_interrupted_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        fs::write(path(&part), sidecar().text().unwrap()).unwrap();
        fs::hard_link(path(&part), fresh_path(&part)).unwrap();
        assert!(matches!(look(&part), Ok(Found::Ours(_))));
        assert!(!fresh_path(&part).exists());
    }

    #[test]
    fn the_age_of_a_file_is_told_by_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        for written in [SystemTime::now() - hour, SystemTime::now() + hour] {
            let age = age(written, dir.path()).unwrap();
            assert!(age.abs_diff(hour) < Duration::from_secs(60), "{age:?}");
        }
        assert_eq!(age(SystemTime::now(), &dir.path().join("missing")), None);
    }
}
