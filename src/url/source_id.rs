//! [`SourceId`]: tells whether two files came from the same URL, without naming it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a URL without what may change while the file stays the same: user info and known signature
/// parameters. (A [`WebUrl`](super::WebUrl) has no fragment.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SourceId([u8; Self::LENGTH]);

impl SourceId {
    /// Its length in bytes.
    pub const LENGTH: usize = 32;

    pub(super) fn of(url: &str) -> Self {
        Self(Sha256::digest(url).into())
    }

    /// Returns the hash.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl From<[u8; Self::LENGTH]> for SourceId {
    fn from(hash: [u8; Self::LENGTH]) -> Self {
        Self(hash)
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
