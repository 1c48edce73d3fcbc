//! The hosts of a run: a number for each, and what has arrived from it.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::http::{Traffic, TrafficSnapshot};
use crate::plan::{Download, Plan};
use crate::url::WebUrl;

/// Every host that a source of the plan names. A plan that grows may bring more.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Counted from 0, by name and port.
    numbers: RwLock<HashMap<String, u32>>,
    traffic: boxcar::Vec<Traffic>,
}

impl Hosts {
    /// Numbers the hosts of every source. Also returns that of each download's first source.
    pub fn of_plan(plan: &Plan) -> (Self, Vec<u32>) {
        let hosts = Self::default();
        let mut host_of = Vec::with_capacity(plan.len());
        let mut last: Option<(&WebUrl, u32)> = None;
        for download in plan.downloads() {
            for (index, source) in download.sources().iter().enumerate() {
                // Most lists name the same host many times in a row.
                let number = match last.filter(|(url, _)| url.has_same_host_and_port(&source.url)) {
                    Some((_, number)) => number,
                    None => hosts.number(&source.url),
                };
                last = Some((&source.url, number));
                if index == 0 {
                    host_of.push(number);
                }
            }
        }
        (hosts, host_of)
    }

    /// Numbers the hosts of a download. Returns that of its first source.
    pub fn add(&self, download: &Download) -> u32 {
        let numbers: Vec<u32> = download.sources().iter().map(|source| self.number(&source.url)).collect();
        numbers[0]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.traffic.count()
    }

    /// The number of a host by its name and port.
    pub fn find(&self, host: &str) -> Option<u32> {
        self.numbers().get(host).copied()
    }

    /// The name and port of a host.
    pub fn name(&self, number: u32) -> Option<String> {
        self.numbers().iter().find(|(_, known)| **known == number).map(|(host, _)| host.clone())
    }

    /// The counters of a host.
    pub fn traffic(&self, number: u32) -> &Traffic {
        &self.traffic[number as usize]
    }

    pub fn snapshot(&self, number: u32) -> TrafficSnapshot {
        self.traffic(number).snapshot()
    }

    /// The number of a URL's host, which gets one if it has none.
    fn number(&self, url: &WebUrl) -> u32 {
        let host = url.host_and_port();
        if let Some(number) = self.find(&host) {
            return number;
        }
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        *numbers.entry(host).or_insert_with(|| u32::try_from(self.traffic.push(Traffic::default())).unwrap_or(u32::MAX))
    }

    fn numbers(&self) -> RwLockReadGuard<'_, HashMap<String, u32>> {
        self.numbers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Entry;

    #[test]
    fn every_host_has_one_number_and_downloads_have_that_of_their_first_source() {
        let url = |url: &str| WebUrl::parse(url).unwrap();
        let entry = Entry::from(url("http://b/x")).with_mirror(url("http://c/x"));
        let plan = Plan::new([Entry::from(url("http://a/x")), entry, url("http://a/y").into()], |_| false);
        let (hosts, host_of) = Hosts::of_plan(&plan);
        assert_eq!((host_of, hosts.len()), (vec![0, 1, 0], 3));
        let added =
            plan.add(Entry::from(url("http://d/x")).with_mirror(url("http://b/z")), |_| false).unwrap().unwrap();
        assert_eq!((hosts.add(added), hosts.len()), (3, 4));
        for (number, host) in (0..).zip(["a:80", "b:80", "c:80", "d:80"]) {
            assert_eq!((hosts.find(host), hosts.name(number).as_deref()), (Some(number), Some(host)));
        }
        assert_eq!((hosts.find("e:80"), hosts.name(4)), (None, None));
    }
}
