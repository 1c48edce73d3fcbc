//! Every URL yields one safe file name, and no two downloads of a plan share a target.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use tdl::fuzzing::{SafeName, is_hidden};
use tdl::{Plan, WebUrl};

fuzz_target!(|text: &str| {
    let urls: Vec<_> = text.lines().filter_map(|tail| WebUrl::parse(&format!("http://h/{tail}")).ok()).collect();
    let plan = Plan::new(urls, |_| false);
    let mut targets = HashSet::new();
    for download in plan.downloads() {
        let name = download.target().as_str();
        assert!(!name.is_empty() && name.len() <= 236);
        assert!(!name.contains(|c| is_hidden(c) || "/\\<>:\"|?*".contains(c)));
        assert!(!name.ends_with(['.', ' ']));
        assert!(targets.insert(name.to_lowercase()), "{name}");
        if name.len() <= 225 {
            assert!(SafeName::from_user(name).is_some(), "{name:?}");
        }
    }
});
