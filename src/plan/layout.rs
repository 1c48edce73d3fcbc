//! Where files go whose list says nothing about that.

use super::target::Target;
use crate::url::WebUrl;

/// Which directories files get that the list does not put into one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// All files are in the output directory itself.
    #[default]
    Flat,
    /// Each file is in the directories of its URL.
    Path,
    /// The same, below a directory with the name of the host.
    Host,
}

impl Layout {
    /// The target that a URL has; `None` where that is only its name.
    pub(super) fn target(self, url: &WebUrl) -> Option<Target> {
        match self {
            Self::Flat => None,
            Self::Path => Some(Target::with_path_of(url, false)),
            Self::Host => Some(Target::with_path_of(url, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_from_the_url() {
        for (url, path, host) in [
            ("http://h/x.gz", "x.gz", "h/x.gz"),
            ("http://h/a/b%20c/x.gz?y=1", "a/b c/x.gz", "h/a/b c/x.gz"),
            ("https://u@h:8443//a//", "a/index.html", "h_8443/a/index.html"),
            ("http://h/%2e%2e/..%2fa/nul/x", "_/.._a/_nul/x", ""),
            ("http://[::1]/a", "a", "[__1]/a"),
        ] {
            let url = WebUrl::parse(url).unwrap();
            let target = |layout: Layout| layout.target(&url).map(|target| target.to_string());
            if !url.unredacted().contains("nul") {
                assert_eq!(target(Layout::Path).as_deref(), Some(path), "{url}");
                assert_eq!(target(Layout::Host).as_deref(), Some(host), "{url}");
            }
            assert_eq!(target(Layout::Flat), None);
        }
        let hostile = WebUrl::parse("http://h/..%2f..%2fa/nul/C:/x").unwrap();
        assert_eq!(Layout::Path.target(&hostile).unwrap().as_str(), ".._.._a/_nul/C_/x");
    }
}
