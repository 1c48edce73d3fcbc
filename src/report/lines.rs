//! Formats events as lines of text. A line about a download begins with its URL, or beside the bars with its name. The
//! callers decide where the lines are shown.

use std::fmt::Write as _;
use std::path::Path;

use super::options::Verbosity;
use super::style::{Style, Tone};
use super::units::{format_count, format_size, format_time};
use crate::error::{Error, RetryAfter};
use crate::http::Framing;
use crate::options::Mode;
use crate::plan::{Download, Origin, Plan, SafeName, Target};
use crate::run::{Event, Finished, MAX_RETRY_AFTER, Outcome, SkipReason};
use crate::text::{safe, safe_path};
use crate::url::WebUrl;

/// A line is about this much longer than its URL.
const TYPICAL_LENGTH: usize = 128;

/// How lines are worded.
#[derive(Debug, Clone, Copy)]
pub struct Wording {
    pub verbosity: Verbosity,
    pub style: Style,
    /// Whether bars show the running downloads, by their names. Then lines are by name as well, and starts and ends need
    /// none.
    pub has_bars: bool,
}

/// Formats an event, or returns `None` if this is not shown.
pub fn format_event(event: &Event<'_>, wording: Wording) -> Option<String> {
    let Wording { verbosity, style, has_bars } = wording;
    let subject = |download: &Download| if has_bars { name(download) } else { download.url().to_string() };
    match event {
        Event::Finished(download, finished) => format_outcome(download, finished, wording),
        // The caller knows the names of lists.
        Event::Invalid { .. } => None,
        _ if verbosity == Verbosity::Failures => None,
        Event::Started(..) if has_bars => None,
        Event::Started(download, _) => {
            let url = download.url();
            let mut line = String::with_capacity(TYPICAL_LENGTH + url.unredacted().len());
            let _ = write!(line, "{url}: started");
            Some(line)
        }
        Event::Retrying { download, failure, wait, .. } => {
            let (subject, retrying) = (subject(download), style.paint(Tone::Waiting, "retrying"));
            Some(format!("{subject}: {retrying} in {}: {}", format_time(*wait), failure.chain()))
        }
        // Its row shows that.
        Event::WaitingForPermit(_) if has_bars => None,
        Event::WaitingForPermit(download) => {
            Some(format!("{}: its wait is over; trying again as soon as a connection is free", subject(download)))
        }
        Event::Held(host, wait) => Some(format!("{host}: nothing is requested for {}, as it asks", format_time(*wait))),
        Event::StartingOver(download, reason) => Some(format!("{}: starting over: {reason}", subject(download))),
        Event::Warning(text) => Some(format!("{} {text}", style.paint(Tone::Waiting, "warning:"))),
        _ if verbosity < Verbosity::Everything => None,
        Event::Redirected(download, to) => Some(format!("{}: redirected to {to}", subject(download))),
        Event::Split(download, from) => {
            Some(format!("{}: opened another connection at byte {from}", subject(download)))
        }
        Event::SegmentFailed(download, failure) => {
            Some(format!("{}: another connection ended early: {}", subject(download), failure.chain()))
        }
        Event::Planned { .. } | Event::Added(_) | Event::ListEnded(_) | Event::Released(_) | Event::TryingAgain(_) => {
            None
        }
    }
}

/// Formats what is no valid entry of a list. `place` says where it is, if that is known.
pub fn format_invalid(place: Option<&str>, problem: &str, style: Style) -> String {
    let failed = style.paint(Tone::Bad, "failed");
    match place {
        Some(place) => format!("{place}: {failed}: {problem}"),
        None => format!("{failed}: {problem}"),
    }
}

/// Formats the line that replaces those of all further files that are there already.
pub fn format_more_skipped(shown: usize) -> String {
    format!("more than {shown} files exist: the rest are only counted, -v shows each")
}

/// Formats the line that precedes each of the two runs of a comparison.
pub fn format_run_start(plan: &Plan, mode: Mode) -> String {
    let files = format_count(plan.len(), "file");
    match mode {
        Mode::Sequential => format!("first {files} sequentially, into a scratch directory"),
        Mode::Concurrent => format!("now {files} concurrently"),
    }
}

/// Formats a download of a dry run, with the origin of its file if that exists.
pub fn format_planned(url: &WebUrl, target: &Target, directory: &Path, existing: Option<Origin>) -> String {
    let note = match existing {
        None => "",
        Some(Origin::Unknown) => " (exists)",
        Some(Origin::SameSource) => " (exists, fetched from this URL)",
        Some(Origin::AnotherUrl) => " (exists, fetched from another URL)",
    };
    format!("{url} -> {}{note}", safe_path(&target.path_in(directory)))
}

/// The name of a download's file, with its URL if that is named otherwise.
fn name(download: &Download) -> String {
    let (name, url) = (download.target(), download.url());
    let is_told = !url.has_query() && *name == Target::from(SafeName::from_url(url));
    if is_told { name.to_string() } else { format!("{name} ({url})") }
}

fn format_outcome(download: &Download, finished: &Finished, wording: Wording) -> Option<String> {
    let Wording { verbosity, style, has_bars } = wording;
    let url = download.url();
    match &finished.outcome {
        Outcome::Failed(failure) => {
            let failed = style.paint(Tone::Bad, "failed");
            let subject = if has_bars { name(download) } else { url.to_string() };
            Some(format!("{subject}: {failed}: {}{}", failure.chain(), hint(failure)))
        }
        _ if verbosity == Verbosity::Failures => None,
        Outcome::Fetched(_) | Outcome::Skipped(_) if has_bars && verbosity < Verbosity::Everything => None,
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
            Some(format!("{url}: skipped, {} exists, not checked", finished.target(download)))
        }
        Outcome::Skipped(SkipReason::SameSource) => {
            Some(format!("{url}: skipped, {} exists, fetched from this URL", finished.target(download)))
        }
        Outcome::Skipped(SkipReason::Unchanged) => {
            Some(format!("{url}: skipped, {} is unchanged according to the server", finished.target(download)))
        }
        Outcome::Cancelled if has_bars && verbosity < Verbosity::Everything => None,
        Outcome::Cancelled => (finished.attempts > 0).then(|| format!("{url}: not finished, the run ended first")),
    }
}

/// Returns what may help against a failure, for the end of its message.
fn hint(failure: &Error) -> String {
    if let Some(RetryAfter { wait, .. }) = failure.retry_after().filter(|asked| asked.wait > MAX_RETRY_AFTER) {
        return format!("; it asks to wait for {}, longer than tdl does", format_time(*wait));
    }
    let hint = match failure {
        Error::Status { code: 401, .. } => "; pass credentials with -H 'Authorization: ...' or in the URL",
        Error::Dns { is_temporary: false, .. } => "; is it spelled correctly?",
        Error::Status { code: 407, .. } | Error::Proxy { code: Some(407) } => {
            "; put the credentials in the proxy URL, as in http://USER:PASSWORD@HOST:PORT"
        }
        Error::Tls(cause) if cause.to_string().contains("certificate") => "; --insecure accepts any certificate",
        Error::Client { is_temporary: false, .. } => "; is a certificate store installed (ca-certificates)?",
        Error::NoResponse(_) | Error::Stalled(_) => "; --stall-timeout sets how long to wait",
        Error::ConnectTimeout(_) => "; --connect-timeout sets how long to wait",
        Error::TooLarge(_) => "; --max-filesize sets the limit",
        Error::OutOfTime => "; --max-time sets the limit",
        Error::FromAnotherUrl(_) => "; --if-exists rename saves this one under another name",
        Error::Exists(_) => "; --if-exists sets what to do in that case",
        Error::Panicked(_) => "; please report this as a bug",
        _ => "",
    };
    hint.to_owned()
}
