//! One line for each change of state. Each begins with the URL that it is about.

use std::path::Path;

use super::units::{count, size, time};
use crate::error::Error;
use crate::http::Framing;
use crate::options::Mode;
use crate::plan::{Download, Plan};
use crate::run::{Event, Finished, Outcome, Skip};
use crate::text::{safe, safe_path};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Failures, and no summary.
    Failures,
    /// Starts, ends, retries and warnings.
    Normal,
    /// Redirects, statuses and checks as well.
    Everything,
}

/// The line for an event; `None` where it is not worth one.
pub fn of_event(event: &Event<'_>, detail: Detail) -> Option<String> {
    match event {
        Event::Finished(download, finished) => of_end(download, finished, detail),
        _ if detail == Detail::Failures => None,
        Event::Started(download, _) => Some(format!("{}: started", download.url)),
        Event::Retrying { download, failure, wait, .. } => {
            Some(format!("{}: trying again in {}: {}", download.url, time(*wait), failure.chain()))
        }
        Event::StartingOver(download, why) => Some(format!("{}: starting over: {why}", download.url)),
        Event::Warning(text) => Some(format!("warning: {text}")),
        _ if detail < Detail::Everything => None,
        Event::Redirected(download, to) => Some(format!("{}: redirected to {to}", download.url)),
        Event::Split(download, from) => Some(format!("{}: a further connection, from byte {from} on", download.url)),
        Event::SegmentFailed(download, failure) => {
            Some(format!("{}: a further connection ended early: {}", download.url, failure.chain()))
        }
        Event::Planned(..) => None,
    }
}

/// The line that begins one of the two runs of a comparison.
pub fn of_pass(plan: &Plan, mode: Mode) -> String {
    let files = count(plan.downloads().len(), "file");
    match mode {
        Mode::Sequential => format!("first {files} one after another, to a scratch directory"),
        Mode::Concurrent => format!("now {files} side by side"),
    }
}

fn of_end(download: &Download, finished: &Finished, detail: Detail) -> Option<String> {
    let url = &download.url;
    match &finished.outcome {
        Outcome::Failed(failure) => Some(format!("{url}: failed: {}{}", failure.chain(), help(failure))),
        _ if detail == Detail::Failures => None,
        Outcome::Fetched(file) => {
            let path = safe_path(&file.path);
            let took = time(finished.own_time);
            let mut line = format!("{url}: fetched, {} in {took}, to {path}", size(file.bytes));
            if let Some(coding) = &file.content_encoding {
                line += &format!("; saved as the server sent it, in the content coding {}", safe(coding));
            }
            if detail == Detail::Everything {
                let checked = match file.framing {
                    Framing::Length(_) => "its length is the announced one",
                    Framing::Chunked => "its last chunk came",
                    Framing::Close => "no length was announced, so only the connection's close showed its end",
                };
                line += &format!("; status {}, attempts {}; {checked}", file.status, finished.attempts);
            }
            Some(line)
        }
        Outcome::Skipped(Skip::Exists) => Some(format!("{url}: skipped, {} is there, not checked", download.target)),
        Outcome::Skipped(Skip::Unchanged) => {
            Some(format!("{url}: skipped, {} has not changed, the server says", download.target))
        }
        Outcome::Cancelled => (finished.attempts > 0).then(|| format!("{url}: not finished")),
    }
}

/// What a dry run says of a download.
pub fn planned(download: &Download, directory: &Path, exists: bool) -> String {
    let note = if exists { " (exists)" } else { "" };
    format!("{} -> {}{note}", download.url, safe_path(&download.path(directory)))
}

/// What may help against a failure, as the end of its message.
pub const fn help(failure: &Error) -> &'static str {
    match failure {
        Error::Status { code: 401, .. } => "; give credentials with -H 'Authorization: ...' or in the URL",
        Error::Dns { is_temporary: false, .. } => "; is it spelled right?",
        Error::Status { code: 407, .. } | Error::Proxy { code: Some(407) } => {
            "; give the proxy's URL the user info, as in http://USER:PASSWORD@HOST:PORT"
        }
        Error::Tls(_) => "; --insecure takes any certificate",
        Error::Client { is_temporary: false, .. } => "; is a certificate store installed (ca-certificates)?",
        Error::Stalled(_) => "; --stall-timeout sets how long to wait",
        Error::ConnectTimeout(_) => "; --connect-timeout sets how long to wait",
        Error::TooLarge(_) => "; --max-filesize says how long it may be",
        Error::OutOfTime => "; --max-time says how long it may take",
        Error::Exists(_) => "; --if-exists says what to do then",
        Error::Panicked(_) => "; please report this as a bug",
        _ => "",
    }
}
