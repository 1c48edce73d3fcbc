//! [`Sums`]: the digests that checksum files give for the files of another list.

use std::collections::BTreeMap;

use super::target::Target;
use crate::digest::Digest;

/// How many files without a sum are named. The rest are only counted.
const MAX_NAMED: usize = 10;

/// Digests by the target of their file.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    sums: BTreeMap<Box<str>, Sum>,
    files_without: usize,
    first_without: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Sum {
    digests: Vec<Digest>,
    has_file: bool,
}

/// Items that lack a counterpart: how many there are, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

impl Sums {
    /// Adds the digest of a file. A file may have several.
    pub fn add(&mut self, target: &Target, digest: Digest) {
        let digests = &mut self.sums.entry(target.as_str().into()).or_default().digests;
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }

    /// Returns the digests of a target, and counts whether it has any.
    pub(super) fn take(&mut self, target: &Target) -> &[Digest] {
        match self.sums.get_mut(target.as_str()) {
            Some(sum) => {
                sum.has_file = true;
                &sum.digests
            }
            None => {
                self.files_without += 1;
                if self.first_without.len() < MAX_NAMED {
                    self.first_without.push(target.to_string());
                }
                &[]
            }
        }
    }

    /// The sums whose files are not in the plan.
    #[must_use]
    pub fn without_file(&self) -> Unmatched {
        let unused = || self.sums.iter().filter(|(_, sum)| !sum.has_file).map(|(target, _)| target.to_string());
        Unmatched { count: unused().count(), first: unused().take(MAX_NAMED).collect() }
    }

    /// The files of the plan without a sum.
    #[must_use]
    pub fn files_without_sum(&self) -> Unmatched {
        Unmatched { count: self.files_without, first: self.first_without.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_counterpart_is_counted_and_named() {
        let target = |path| Target::from_list(path).unwrap();
        let digest = |digit: &str| Digest::from_bare_hex(&digit.repeat(32)).unwrap();
        let mut sums = Sums::default();
        for (path, digit) in [("a", "0"), ("a", "0"), ("a", "1"), ("d/b", "2"), ("c", "3")] {
            sums.add(&target(path), digest(digit));
        }
        assert_eq!(sums.take(&target("a")), [digest("0"), digest("1")]);
        assert_eq!(sums.take(&target("A")), []);
        assert_eq!(sums.without_file(), Unmatched { count: 2, first: vec!["c".to_owned(), "d/b".to_owned()] });
        assert_eq!(sums.files_without_sum(), Unmatched { count: 1, first: vec!["A".to_owned()] });
    }
}
