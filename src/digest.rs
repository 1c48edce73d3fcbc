//! [`Digest`]: what a file's bytes must hash to. Pure: `part::digest` does the hashing.

use std::fmt;

/// A hash function that lists name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5 (RFC 1321). It finds damage; it does not stop an attacker.
    Md5,
    /// SHA-1. It finds damage; it does not stop an attacker.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms, weakest first.
    pub const ALL: [Self; 6] = [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name that IANA registered for it: `md5`, `sha-1`, `sha-256` and so on.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// The length of its digests in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Finds an algorithm by any of its usual names, in any case: `sha256`, `SHA-256`, `SHA2-256`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let letters: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        let letters = letters.to_ascii_lowercase();
        // OpenSSL 3 writes SHA2-256.
        let letters = match letters.strip_prefix("sha2") {
            Some(length @ ("224" | "256" | "384" | "512")) => format!("sha{length}"),
            _ => letters,
        };
        Self::ALL.into_iter().find(|algorithm| algorithm.name().replace('-', "") == letters)
    }

    /// The algorithm whose digests have this many hexadecimal digits, as checksum files without a name for it assume.
    #[must_use]
    pub fn from_hex_length(digits: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.length() * 2 == digits)
    }
}

/// The digest that a file must have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// As many bytes as the algorithm has; the others are zero.
    bytes: [u8; 64],
}

impl Digest {
    /// Makes a digest of its bytes; `None` if the algorithm has another length.
    #[must_use]
    pub fn new(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        (digest.len() == algorithm.length()).then(|| bytes[..digest.len()].copy_from_slice(digest))?;
        Some(Self { algorithm, bytes })
    }

    /// Parses hexadecimal digits; `None` if they are anything else, or not as many as the algorithm has.
    #[must_use]
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = hex.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
        Self::new(algorithm, &bytes?)
    }

    /// Parses hexadecimal digits of the algorithm that has as many.
    #[must_use]
    pub fn from_bare_hex(hex: &str) -> Option<Self> {
        Self::from_hex(Algorithm::from_hex_length(hex.len())?, hex)
    }

    /// Returns the algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the digest itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }

    /// Returns the digest in lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_found_by_their_usual_names() {
        for (name, algorithm) in [
            ("md5", Some(Algorithm::Md5)),
            ("MD5", Some(Algorithm::Md5)),
            ("sha-1", Some(Algorithm::Sha1)),
            ("SHA1", Some(Algorithm::Sha1)),
            ("sha_256", Some(Algorithm::Sha256)),
            ("SHA2-512", Some(Algorithm::Sha512)),
            ("sha384", Some(Algorithm::Sha384)),
            ("SHA512/256", None),
            ("crc32", None),
            ("", None),
        ] {
            assert_eq!(Algorithm::from_name(name), algorithm, "{name}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_a_digest_only_if_there_are_as_many_as_the_algorithm_has() {
        let md5 = Digest::from_hex(Algorithm::Md5, "D41D8CD98F00B204E9800998ECF8427E").unwrap();
        assert_eq!(md5.to_string(), "md5 d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!((md5.bytes()[0], md5.bytes().len()), (0xd4, 16));
        assert_eq!(Digest::from_bare_hex(&md5.hex()), Some(md5));
        for hex in [
            "",
            "d4",
            "d41d8cd98f00b204e9800998ecf8427",
            "d41d8cd98f00b204e9800998ecf8427x",
            "+41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert_eq!(Digest::from_hex(Algorithm::Md5, hex), None, "{hex}");
        }
        assert_eq!(Digest::from_bare_hex("dé"), None);
    }
}
