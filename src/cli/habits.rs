//! Options of curl, wget and aria2 that tdl does not have, and what does the same.

/// What an option of another program wants.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// An option of tdl does it.
    Use(&'static str),
    /// tdl does it without being asked.
    Always(&'static str),
    /// tdl does not do it.
    Never(&'static str),
}

use Habit::{Always, Never, Use};

/// Each with the names that it has. A name that means different things in different programs has one row for all.
const HABITS: &[(&[&str], Habit)] = &[
    (&["-d", "--dir", "-P", "--directory-prefix"], Use("-o DIR saves files in a directory")),
    (
        &["--out", "--output", "--output-document"],
        Use("-O NAME names the file of a single URL, and -o DIR the directory"),
    ),
    (&["--input-file"], Use("-i FILE reads a list, also one that aria2 reads")),
    (
        &["-x", "--max-connection-per-server"],
        Always("the number of connections is found by trying; --per-host N limits it, and https_proxy names a proxy"),
    ),
    (
        &["-s", "--split", "--min-split-size", "--stream-piece-selector"],
        Always("large files are split where that helps; -q is silent"),
    ),
    (&["--silent", "--no-verbose", "-S", "--show-error"], Use("-q shows failures only")),
    (&["-c", "--continue", "-C", "--continue-at"], Always("what an interrupted run has left is resumed")),
    (&["-k", "--no-check-certificate", "--check-certificate"], Use("--insecure accepts any certificate")),
    (
        &["-L", "--location", "--location-trusted", "--max-redirect", "--max-redirs"],
        Always("redirects are followed, and credentials stay with their server"),
    ),
    (
        &["-N", "--timestamping", "--time-cond", "-z", "--conditional-get"],
        Use("--if-exists update fetches what has changed"),
    ),
    (&["-R", "--remote-time"], Always("files get the time that the server gives them")),
    (&["-Z", "--parallel", "--parallel-immediate"], Always("downloads run side by side")),
    (
        &["--parallel-max", "--max-concurrent-downloads", "--threads", "--max-threads"],
        Use("-j N limits the number of threads"),
    ),
    (&["-f", "--fail", "--fail-with-body"], Always("error pages are not saved")),
    (&["-J", "--remote-header-name", "--content-disposition"], Use("--remote-name names files as the server does")),
    (&["--remote-name-all"], Always("files are named after their URLs; --remote-name asks the server")),
    (&["-A", "-U", "--user-agent"], Use("-H 'User-Agent: NAME' sets it")),
    (&["-e", "--referer"], Use("-H 'Referer: URL' sends it")),
    (&["-b", "--cookie", "--load-cookies"], Use("-H 'Cookie: NAME=VALUE' sends it")),
    (
        &["-u", "--user", "--http-user", "--http-passwd", "--http-password", "--password"],
        Use("-H 'Authorization: ...' sends credentials, or a URL contains them; -H @FILE keeps them from other users"),
    ),
    (
        &["--proxy", "--all-proxy", "--http-proxy", "--https-proxy"],
        Use("the variables http_proxy, https_proxy, all_proxy and no_proxy name proxies"),
    ),
    (
        &["--limit-rate", "--max-download-limit", "--max-overall-download-limit"],
        Never("the rate cannot be limited; -j and --per-host limit the connections"),
    ),
    (&["-m"], Use("--max-time TIME limits the run, and --stall-timeout the wait for the next byte")),
    (
        &["-T", "--timeout", "--read-timeout", "--speed-time", "-y"],
        Use("--stall-timeout TIME limits the wait for the next byte, and --connect-timeout that for a connection"),
    ),
    (&["-t", "--tries", "--max-tries", "--retry"], Use("--retries N limits the retries")),
    (
        &["-w", "--wait", "--retry-wait", "--retry-delay", "--waitretry", "--retry-all-errors", "--retry-connrefused"],
        Always("waits grow with each retry, and what a server asks for is obeyed"),
    ),
    (&["-n", "--no-clobber", "-nc"], Always("existing files are kept; --if-exists says what else to do")),
    (&["--auto-file-renaming"], Use("--if-exists rename saves under the next free name")),
    (&["--allow-overwrite", "--clobber"], Use("--if-exists overwrite replaces existing files")),
    (&["--create-dirs", "-p"], Always("the output directory is made if it is missing")),
    (&["--spider"], Use("--dry-run shows what would be fetched, without any request")),
    (&["--compressed", "--compression"], Never("files are kept as they are served")),
    (&["-#", "--progress-bar", "--show-progress"], Use("--progress bars shows bars")),
    (&["-r", "--recursive", "-l", "--level"], Never("links in pages are not followed; list the URLs")),
    (&["-X", "--request", "-F", "--form", "--data", "--post-data"], Never("tdl only fetches files, with GET")),
    (&["-I", "--head"], Never("files are fetched with GET; --dry-run sends no request at all")),
    (&["-K", "--config", "--conf-path"], Never("there is no configuration file; -i FILE reads a list")),
    (
        &["-a", "--append-output", "--log"],
        Use("2> FILE keeps the messages, and --json > FILE what happened to each file"),
    ),
    (
        &["--checksum", "-V", "--check-integrity"],
        Use("a list can have checksums, and --sums FILE gives them for other lists"),
    ),
    (
        &["--force-directories", "--cut-dirs", "--protocol-directories"],
        Use("--layout path keeps the directories of URLs, and --layout host adds the host"),
    ),
    (&["--metalink-file", "-M"], Use("-i FILE reads Metalink 4 as well")),
    (&["--file-allocation"], Always("space is reserved before a file is fetched")),
    (&["-g", "--globoff"], Always("brackets in URLs mean themselves")),
];

/// What to say of an option that tdl does not have: `None` if no other program has it either.
pub fn advice(option: &str) -> Option<String> {
    let name = option.split('=').next().unwrap_or(option);
    let (_, habit) = HABITS.iter().find(|(names, _)| names.contains(&name))?;
    Some(match habit {
        Use(how) => format!("tdl has no {name}: {how}"),
        Always(what) => format!("tdl needs no {name}: {what}"),
        Never(what) => format!("tdl has no {name}: {what}"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Args;

    #[test]
    fn no_habit_is_an_option_of_tdl_or_has_two_rows() {
        let mut command = Args::command();
        command.build();
        let fetch = command.find_subcommand("fetch").unwrap();
        let mut known = HashSet::new();
        for name in HABITS.iter().flat_map(|(names, _)| *names) {
            assert!(known.insert(name), "{name}");
            let is_ours = fetch.get_arguments().any(|argument| {
                let short = argument.get_short().map(|short| format!("-{short}"));
                let long = argument.get_long().map(|long| format!("--{long}"));
                [short, long].into_iter().flatten().any(|own| own == **name)
            });
            assert!(!is_ours, "{name}");
        }
    }

    #[test]
    fn values_do_not_matter() {
        assert!(advice("--split=5").unwrap().starts_with("tdl needs no --split: "));
        assert_eq!(advice("--no-such-option"), None);
    }
}
