//! Formats events as lines of text. A line about a download begins with its URL. The callers decide where the lines are
//! shown.

use std::fmt::Write as _;
use std::path::Path;

use super::options::Verbosity;
use super::units::{format_count, format_size, format_time};
use crate::error::Error;
use crate::http::Framing;
use crate::options::Mode;
use crate::plan::{Download, Plan};
use crate::run::{Event, Finished, Outcome, SkipReason};
use crate::text::{safe, safe_path};

/// A line is about this much longer than its URL.
const TYPICAL_LENGTH: usize = 128;

/// Formats an event, or returns `None` if this verbosity does not show it.
pub fn format_event(event: &Event<'_>, verbosity: Verbosity) -> Option<String> {
    match event {
        Event::Finished(download, finished) => format_outcome(download, finished, verbosity),
        _ if verbosity == Verbosity::Failures => None,
        Event::Started(download, _) => {
            let url = download.url();
            let mut line = String::with_capacity(TYPICAL_LENGTH + url.unredacted().len());
            let _ = write!(line, "{url}: started");
            Some(line)
        }
        Event::Retrying { download, failure, wait, .. } => {
            Some(format!("{}: retrying in {}: {}", download.url(), format_time(*wait), failure.chain()))
        }
        Event::StartingOver(download, reason) => Some(format!("{}: starting over: {reason}", download.url())),
        Event::Warning(text) => Some(format!("warning: {text}")),
        _ if verbosity < Verbosity::Everything => None,
        Event::Redirected(download, to) => Some(format!("{}: redirected to {to}", download.url())),
        Event::Split(download, from) => Some(format!("{}: opened another connection at byte {from}", download.url())),
        Event::SegmentFailed(download, failure) => {
            Some(format!("{}: another connection ended early: {}", download.url(), failure.chain()))
        }
        Event::Planned { .. } => None,
    }
}

/// Formats the line that replaces those of all further files that are there already.
pub fn format_more_skipped(shown: usize) -> String {
    format!("more than {shown} files exist: the rest are only counted, -v shows each")
}

/// Formats the line that precedes each of the two runs of a comparison.
pub fn format_run_start(plan: &Plan, mode: Mode) -> String {
    let files = format_count(plan.downloads().len(), "file");
    match mode {
        Mode::Sequential => format!("first {files} sequentially, into a scratch directory"),
        Mode::Concurrent => format!("now {files} concurrently"),
    }
}

/// Formats a download of a dry run.
pub fn format_planned(download: &Download, directory: &Path, exists: bool) -> String {
    let note = if exists { " (exists)" } else { "" };
    format!("{} -> {}{note}", download.url(), safe_path(&download.target().path_in(directory)))
}

fn format_outcome(download: &Download, finished: &Finished, verbosity: Verbosity) -> Option<String> {
    let url = download.url();
    match &finished.outcome {
        Outcome::Failed(failure) => Some(format!("{url}: failed: {}{}", failure.chain(), hint(failure))),
        _ if verbosity == Verbosity::Failures => None,
        Outcome::Fetched(file) => {
            // Most lines of a run are of this kind: growing one repeatedly would take half of the time.
            let mut line = String::with_capacity(TYPICAL_LENGTH + url.unredacted().len());
            let (size, time) = (format_size(file.bytes), format_time(finished.own_time));
            let _ = write!(line, "{url}: fetched, {size} in {time}, to {}", safe_path(&file.path));
            if let Some(coding) = &file.content_encoding {
                line += &format!("; saved as sent, with Content-Encoding {}", safe(coding));
            }
            if verbosity == Verbosity::Everything {
                let check = match file.framing {
                    Framing::Length(_) => "length matches the announced one",
                    Framing::Chunked => "last chunk received",
                    Framing::Close => "no length announced, so only the closed connection marked the end",
                };
                line += &format!("; status {}, attempts {}; {check}", file.status, finished.attempts);
            }
            Some(line)
        }
        Outcome::Skipped(SkipReason::Exists) => {
            Some(format!("{url}: skipped, {} exists, not checked", download.target()))
        }
        Outcome::Skipped(SkipReason::Unchanged) => {
            Some(format!("{url}: skipped, {} is unchanged according to the server", download.target()))
        }
        Outcome::Cancelled => (finished.attempts > 0).then(|| format!("{url}: not finished, the run ended first")),
    }
}

/// Returns what may help against a failure, for the end of its message.
const fn hint(failure: &Error) -> &'static str {
    match failure {
        Error::Status { code: 401, .. } => "; pass credentials with -H 'Authorization: ...' or in the URL",
        Error::Dns { is_temporary: false, .. } => "; is it spelled correctly?",
        Error::Status { code: 407, .. } | Error::Proxy { code: Some(407) } => {
            "; put the credentials in the proxy URL, as in http://USER:PASSWORD@HOST:PORT"
        }
        Error::Tls(_) => "; --insecure accepts any certificate",
        Error::Client { is_temporary: false, .. } => "; is a certificate store installed (ca-certificates)?",
        Error::Stalled(_) => "; --stall-timeout sets how long to wait",
        Error::ConnectTimeout(_) => "; --connect-timeout sets how long to wait",
        Error::TooLarge(_) => "; --max-filesize sets the limit",
        Error::OutOfTime => "; --max-time sets the limit",
        Error::Exists(_) => "; --if-exists sets what to do in that case",
        Error::Panicked(_) => "; please report this as a bug",
        _ => "",
    }
}
