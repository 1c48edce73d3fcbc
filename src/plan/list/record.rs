//! [`Record`]: what any format may say about one file, before it becomes an entry.

use super::error::{Problem, bad_value};
use super::reference::resolve;
use crate::digest::Digest;
use crate::options::Header;
use crate::plan::entry::Entry;
use crate::plan::name::SafeName;
use crate::plan::target::Target;
use crate::url::WebUrl;

/// What a list says about one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// In order of preference.
    pub urls: Vec<WebUrl>,
    /// The path of the file, as the list has it.
    pub out: Option<String>,
    /// The directory of the file, as the list has it.
    pub directory: Option<String>,
    pub size: Option<u64>,
    pub digests: Vec<Digest>,
    /// They go to the origin of the first URL only.
    pub headers: Vec<Header>,
}

impl Record {
    pub fn from_url(text: &str, base: Option<&WebUrl>) -> Result<Self, Problem> {
        Ok(Self { urls: vec![resolve(text, base)?], ..Self::default() })
    }

    pub fn add_header(&mut self, line: &str) -> Result<(), Problem> {
        let header = Header::parse(line).map_err(|error| Problem::new(error.to_string()))?;
        self.headers.push(header);
        Ok(())
    }

    /// Turns the record into an entry.
    pub fn into_entry(self) -> Result<Entry, Problem> {
        let target = self.target()?;
        let mut urls = self.urls.into_iter();
        let first = urls.next().ok_or_else(|| Problem::new("there is no URL"))?;
        let origin = first.origin();
        let mut entry = self.headers.iter().cloned().fold(Entry::from(first), Entry::with_header);
        for url in urls {
            let is_same_origin = url.origin() == origin;
            entry = entry.with_mirror(url);
            if is_same_origin {
                entry = self.headers.iter().cloned().fold(entry, Entry::with_header);
            }
        }
        if let Some(size) = self.size {
            entry = entry.with_length(size);
        }
        entry = self.digests.into_iter().fold(entry, Entry::with_digest);
        Ok(match target {
            Some((target, true)) => entry.with_target(target),
            Some((target, false)) => entry.with_wanted_target(target),
            None => entry,
        })
    }

    /// The target, and whether the list gives its name; otherwise only its directory, and the URL gives the name.
    fn target(&self) -> Result<Option<(Target, bool)>, Problem> {
        let path = match (&self.directory, &self.out) {
            (None, None) => return Ok(None),
            (None, Some(out)) => out.clone(),
            (Some(directory), Some(out)) => {
                to_target(out)?;
                format!("{directory}/{out}")
            }
            (Some(directory), None) => {
                let Some(url) = self.urls.first() else { return Ok(None) };
                let name = SafeName::from_url(url);
                if matches!(directory.trim_end_matches('/'), "" | ".") && !directory.starts_with('/') {
                    return Ok(None);
                }
                return Ok(Some((to_target(directory.trim_end_matches('/'))?.in_directory(&name), false)));
            }
        };
        Ok(Some((to_target(&path)?, true)))
    }
}

/// Returns the target for a path of a list.
pub fn to_target(path: &str) -> Result<Target, Problem> {
    Target::from_list(path).map_err(|error| bad_value("the path", path, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(urls: &[&str]) -> Record {
        Record { urls: urls.iter().map(|url| WebUrl::parse(url).unwrap()).collect(), ..Record::default() }
    }

    #[test]
    fn headers_go_to_the_origin_of_the_first_url_only() {
        let mut record = record(&["http://a/x", "http://b/x", "http://a/y"]);
        record.add_header("X-Key: 1").unwrap();
        let entry = record.into_entry().unwrap();
        let counts: Vec<_> = entry.sources().iter().map(|source| source.headers().len()).collect();
        assert_eq!(counts, [1, 0, 1]);
    }

    #[test]
    fn a_directory_alone_leaves_the_name_to_the_url() {
        for (directory, out, target) in [
            (Some("d/e"), None, Some(("d/e/x.gz", false))),
            (Some("d"), Some("y"), Some(("d/y", true))),
            (Some("."), None, None),
            (Some("d"), Some("e/y"), Some(("d/e/y", true))),
            (None, Some("y"), Some(("y", true))),
        ] {
            let mut record = record(&["http://a/x.gz"]);
            (record.directory, record.out) = (directory.map(str::to_owned), out.map(str::to_owned));
            let found = record.target().unwrap();
            assert_eq!(found.as_ref().map(|(target, named)| (target.as_str(), *named)), target);
        }
        for (directory, out) in
            [(Some("/d"), None), (Some("d"), Some("/y")), (Some("d"), Some("../y")), (Some("/"), None)]
        {
            let mut record = record(&["http://a/x.gz"]);
            (record.directory, record.out) = (directory.map(str::to_owned), out.map(str::to_owned));
            assert!(record.target().is_err(), "{directory:?} {out:?}");
        }
    }
}
