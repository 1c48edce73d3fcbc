//! [`Armor`]: the lines around a list that is signed in the clear, as some distributions publish their checksums (RFC
//! 9580, section 7).

/// Where we are in such a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Armor {
    /// In the list itself.
    #[default]
    None,
    /// In the headers before it.
    Headers,
    /// In the signature after it.
    Signature,
}

impl Armor {
    /// Whether the next line belongs to the signature and not to the list.
    pub fn covers(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        match (&self, line) {
            (_, "-----BEGIN PGP SIGNED MESSAGE-----") => *self = Self::Headers,
            (_, "-----BEGIN PGP SIGNATURE-----") => *self = Self::Signature,
            (Self::Headers, "") | (Self::Signature, "-----END PGP SIGNATURE-----") => *self = Self::None,
            (Self::None, _) => return false,
            _ => {}
        }
        true
    }
}
