//! Hashes what has arrived, and compares it with the digests that it must have.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::digest::{Algorithm, Digest};
use crate::error::Error;

/// Bytes that are read and hashed at once. They should fit in the processor's cache.
const BUFFER: usize = 128 * 1024;

/// Checks bytes against all of the digests.
///
/// # Errors
///
/// [`Error::WrongDigest`] for the first that differs.
pub fn check_bytes(bytes: &[u8], digests: &[Digest]) -> Result<(), Error> {
    let mut hashers = Hashers::new(digests);
    hashers.update(bytes);
    hashers.check()
}

/// Checks a whole file against all of the digests, in one pass. Nothing may write to it meanwhile.
///
/// # Errors
///
/// The error of reading the file; within it, [`Error::WrongDigest`] for the first digest that differs.
pub fn check_file(mut file: &File, digests: &[Digest]) -> io::Result<Result<(), Error>> {
    let mut hashers = Hashers::new(digests);
    let mut buffer = vec![0; BUFFER];
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hashers.check()),
            Ok(length) => hashers.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A hasher for each digest that is expected.
struct Hashers<'d>(Vec<(&'d Digest, Box<dyn DynDigest>)>);

impl<'d> Hashers<'d> {
    fn new(digests: &'d [Digest]) -> Self {
        Self(digests.iter().map(|digest| (digest, hasher(digest.algorithm()))).collect())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
    }

    fn check(self) -> Result<(), Error> {
        for (expected, hasher) in self.0 {
            let found = hasher.finalize();
            if *found != *expected.bytes() {
                let found = Digest::new(expected.algorithm(), &found).map(|digest| digest.hex()).unwrap_or_default();
                let (algorithm, expected) = (expected.algorithm().name(), expected.hex());
                return Err(Error::WrongDigest { algorithm, found, expected });
            }
        }
        Ok(())
    }
}

fn hasher(algorithm: Algorithm) -> Box<dyn DynDigest> {
    match algorithm {
        Algorithm::Md5 => Box::<Md5>::default(),
        Algorithm::Sha1 => Box::<Sha1>::default(),
        Algorithm::Sha224 => Box::<Sha224>::default(),
        Algorithm::Sha256 => Box::<Sha256>::default(),
        Algorithm::Sha384 => Box::<Sha384>::default(),
        Algorithm::Sha512 => Box::<Sha512>::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What `md5sum` and its relatives print for `hello`.
    const HELLO: [&str; 6] = [
        "5d41402abc4b2a76b9719d911017c592",
        "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193",
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "59e1748777448c69de6b800d7a33bbfb9ff1b463e44354c3553bcdb9c666fa90125a3c79f90397bdf5f6a13de828684f",
        "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
    ];

    #[test]
    fn every_digest_is_checked() {
        let digests = HELLO.map(|hex| Digest::from_bare_hex(hex).unwrap());
        check_bytes(b"hello", &digests).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        check_file(&file, &digests).unwrap().unwrap();
        for digest in &digests {
            let failure = check_bytes(b"hellO", &[*digest]).unwrap_err();
            let Error::WrongDigest { algorithm, found, expected } = failure else { panic!("{failure:?}") };
            assert_eq!((algorithm, expected), (digest.algorithm().name(), digest.hex()));
            assert_ne!(found, digest.hex());
        }
        let last = Digest::from_bare_hex(&"0".repeat(128)).unwrap();
        assert!(check_file(&file, &[digests[0], last]).unwrap().is_err());
    }
}
