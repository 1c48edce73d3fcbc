//! The names that downloads of a run have claimed, where the server names files: two responses may have the same name.
//! Does no I/O; what is on disk is checked by the commit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::plan::{Download, Owner, Plan, Target};

/// Which download has claimed which name. A claim lasts until the end of the run, so that no file of this run is ever
/// replaced or mistaken for an older one.
#[derive(Debug, Default)]
pub struct ClaimedNames(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// The ids of downloads, by the [keys](Target::key) of their targets.
    owners: HashMap<Box<str>, usize>,
    /// Where to continue counting when a name is taken. Without it, a list in which every name is `download` takes
    /// quadratic time.
    numbers: HashMap<Box<str>, usize>,
}

/// A name that belongs to one download of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedName {
    /// What the server's name led to.
    wanted: Target,
    /// The same, or its first numbered alternative that no other download has.
    target: Target,
    number: usize,
}

impl ClaimedName {
    /// The name of a file that an earlier run fetched for the download.
    pub fn of_existing(target: Target) -> Self {
        Self { wanted: target.clone(), target, number: 1 }
    }

    /// The target that the download claims.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it is a numbered alternative. Nobody asked for that name, so it never replaces a file.
    pub const fn is_numbered(&self) -> bool {
        self.number > 1
    }

    /// The target that the server's name led to.
    pub const fn wanted(&self) -> &Target {
        &self.wanted
    }

    /// The number of the alternative that comes next.
    pub const fn next_number(&self) -> usize {
        self.number + 1
    }
}

impl ClaimedNames {
    /// Claims `wanted` for a download, or its first numbered alternative that no other download of the plan has claimed
    /// or has as its target.
    pub fn claim(&self, wanted: Target, download: &Download, plan: &Plan) -> ClaimedName {
        if self.try_claim(&wanted, download, plan) {
            return ClaimedName { target: wanted.clone(), wanted, number: 1 };
        }
        self.claim_number(wanted, download, plan)
    }

    /// Claims the next alternative instead of a name that turned out to be another's.
    pub fn claim_after(&self, name: ClaimedName, download: &Download, plan: &Plan) -> ClaimedName {
        self.claim_number(name.wanted, download, plan)
    }

    fn claim_number(&self, wanted: Target, download: &Download, plan: &Plan) -> ClaimedName {
        loop {
            let number = self.next_number(&wanted);
            let target = wanted.numbered(number);
            if self.try_claim(&target, download, plan) {
                return ClaimedName { wanted, target, number };
            }
        }
    }

    /// Claims a name for a download. Returns `false` if it is another one's.
    pub fn try_claim(&self, target: &Target, download: &Download, plan: &Plan) -> bool {
        if matches!(plan.owner_of(target.as_str()), Some(Owner::OfTarget(id)) if id != download.id()) {
            return false;
        }
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *names.owners.entry(target.key().into()).or_insert(download.id()) == download.id()
    }

    fn next_number(&self, wanted: &Target) -> usize {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = names.numbers.entry(wanted.key().into()).or_insert(1);
        *number += 1;
        *number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SafeName;
    use crate::url::WebUrl;

    #[test]
    fn no_two_downloads_claim_the_same_name() {
        let urls = ["http://h/a", "http://h/b", "http://h/c"].map(|url| WebUrl::parse(url).unwrap());
        let plan = Plan::new(urls, |_| false);
        let names = ClaimedNames::default();
        let claim = |id: usize, name: &str| {
            let claimed = names.claim(SafeName::from_user(name).unwrap().into(), &plan[id], &plan);
            (claimed.target().to_string(), claimed.is_numbered())
        };
        for (id, wanted, target) in [
            (0, "x.txt", "x.txt"),
            (1, "X.TXT", "X-2.TXT"),
            (2, "x.txt", "x-3.txt"),
            // A retry claims the same name again.
            (0, "x.txt", "x.txt"),
            // The name that another download has in the plan.
            (0, "b", "b-2"),
            (1, "b", "b"),
            (2, "b-2", "b-2-2"),
        ] {
            assert_eq!(claim(id, wanted), (target.to_owned(), wanted != target), "{id} {wanted}");
        }
    }
}
