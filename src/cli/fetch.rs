//! `tdl fetch`: lists read, a plan made and carried out, and the end told, also when a signal ends it.

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::args::Fetch;
use super::exit::Exit;
use super::signal::{self, Signal};
use crate::error::Error;
use crate::measure::{self, Compared, Scratch};
use crate::options::{Header, IfExists, Options};
use crate::part::{self, TargetState};
use crate::plan::{Plan, SafeName, list};
use crate::report::{Report, to_stderr};
use crate::run::{self, Control, Event, Reporter as _, Summary};
use crate::text::{safe, safe_path};
use crate::url::{WebUrl, redacted};

/// Errors told in full when a list is wrong; of the others it is said how many.
const TOLD: usize = 10;

/// How long an interrupted run may take to end in good order.
const GRACE: Duration = Duration::from_millis(1000);

/// How long a run may go on after its time, to end in good order; who is stuck in a read then is not waited for.
const OVERTIME: Duration = Duration::from_millis(400);

/// How long the summary of an interrupted run may take to be written.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Downloads what was asked for.
pub fn fetch(request: Fetch) -> anyhow::Result<Exit> {
    let urls = urls(&request)?;
    let report = Report::new(request.wishes.clone());
    warn_of_shared_credentials(&urls, &request.options, &report);
    let plan = plan(urls, &request);
    if plan.repeated() > 0 {
        let warning = format!("URLs that were given again, and are fetched once: {}", plan.repeated());
        report.event(&Event::Warning(&warning));
    }
    let directory = &request.options.output.directory;
    if request.dry_run {
        report.plan(&plan, |download| is_taken(&download.path(directory)));
        return Ok(with_output(Exit::Success, &report));
    }
    if request.compare {
        refuse_existing(&plan, directory)?;
    }
    carry_out(plan, request, report)
}

/// Every URL of the arguments and lists, in the order given, arguments first.
fn urls(request: &Fetch) -> anyhow::Result<Vec<WebUrl>> {
    let mut urls = Vec::with_capacity(request.urls.len());
    let mut errors = Vec::new();
    for text in &request.urls {
        match WebUrl::parse(text.trim()) {
            Ok(url) => urls.push(url),
            Err(error) => errors.push(mend_of_argument(text).unwrap_or_else(|| error.to_string())),
        }
    }
    let is_stdin = |path: &&Path| path.as_os_str() == "-";
    let lists = request.lists.iter().map(PathBuf::as_path);
    ensure!(lists.clone().filter(is_stdin).count() <= 1, "-i -: standard input can be read only once");
    for path in lists {
        let name = if is_stdin(&path) { "standard input".to_owned() } else { safe_path(path) };
        let bytes = read_list(path, &name)?;
        match list::parse(&name, &bytes) {
            Ok(listed) => urls.extend(listed),
            Err(wrong) => errors.extend(wrong.iter().map(ToString::to_string)),
        }
    }
    if !errors.is_empty() {
        let told = errors[..errors.len().min(TOLD)].join("\n");
        match errors.len() - errors.len().min(TOLD) {
            0 => bail!(told),
            more => bail!("{told}\nand {more} more"),
        }
    }
    ensure!(!urls.is_empty(), "nothing to download: give URLs, or a list with -i FILE");
    Ok(urls)
}

fn read_list(path: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let read = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    match read {
        Ok(bytes) => Ok(bytes),
        Err(_) if WebUrl::parse(name).is_ok() => {
            bail!("{} is a URL, not a list: give it without -i", safe(&redacted(name)))
        }
        Err(error) => bail!("{}: cannot read the list: {error}", safe(&redacted(name))),
    }
}

/// The likely slip where an argument names no URL but a file, or standard input.
fn mend_of_argument(text: &str) -> Option<String> {
    let looks_like_a_list = Path::new(text).extension().is_some_and(|extension| {
        ["txt", "lst", "list", "urls"].iter().any(|list| extension.eq_ignore_ascii_case(list))
    });
    let is_list = text == "-" || Path::new(text).is_file() || (looks_like_a_list && !text.contains("://"));
    is_list.then(|| format!("'{0}' is not an absolute URL; to read a list, use -i {0}", safe(text)))
}

/// One header may be for one server's eyes only, and goes to every URL's origin.
fn warn_of_shared_credentials(urls: &[WebUrl], options: &Options, report: &Report) {
    let credential = options.network.headers.iter().find(|header| header.is_credential());
    let Some(name) = credential.map(Header::name) else {
        return;
    };
    let origins = urls.iter().map(WebUrl::origin).collect::<HashSet<_>>().len();
    if origins > 1 {
        let warning = format!("the header {name} goes to all {origins} servers that the URLs name");
        report.event(&Event::Warning(&warning));
    }
}

fn plan(mut urls: Vec<WebUrl>, request: &Fetch) -> Plan {
    let output = &request.options.output;
    let passes_over = output.if_exists == IfExists::Rename;
    let exists = |name: &SafeName| passes_over && is_taken(&output.directory.join(name.as_str()));
    match &request.name {
        // A name was given, and so a single URL.
        Some(name) => Plan::single(urls.swap_remove(0), name.clone(), exists),
        None => Plan::new(urls, exists),
    }
}

/// Whether something is at the path. Where that cannot be told, the download itself will say why.
fn is_taken(path: &Path) -> bool {
    matches!(part::target_state(path), Ok(TargetState::Occupied(_) | TargetState::NotAFile))
}

fn refuse_existing(plan: &Plan, directory: &Path) -> anyhow::Result<()> {
    match plan.downloads().iter().map(|download| download.path(directory)).find(|path| is_taken(path)) {
        Some(path) => {
            bail!("{} exists already; --compare downloads everything, so give it an empty -o DIR", safe_path(&path))
        }
        None => Ok(()),
    }
}

/// What the thread that waits hears of.
enum Heard {
    Ended(Result<Ended, Error>),
    Signal(Signal),
}

/// What a run, or two, came to.
enum Ended {
    Run(Summary),
    Comparison(Compared),
}

/// Runs the plan in a thread of its own, so that a signal can end the process whatever that thread is stuck in.
fn carry_out(plan: Plan, request: Fetch, report: Report) -> anyhow::Result<Exit> {
    let (heard, hear) = mpsc::channel();
    let signalled = heard.clone();
    signal::listen(move |signal| drop(signalled.send(Heard::Signal(signal))))
        .map_err(exhausted("listen for signals"))?;
    measure::remove_dead(&request.options.output.directory);
    let scratch = request.compare.then(|| Scratch::create_in(&request.options.output.directory)).transpose();
    let scratch = scratch?;

    let scratch_path = scratch.as_ref().map(|scratch| scratch.path().to_owned());
    let longest = request.options.limits.max_time.map(|time| time + OVERTIME);
    let report = Arc::new(report);
    let controls = Arc::new([Control::default(), Control::default()]);
    let (seen, controlled) = (Arc::clone(&report), Arc::clone(&controls));
    let run = move || match scratch_path {
        Some(path) => measure::compare(&plan, &request.options, &path, &*seen, &controlled).map(Ended::Comparison),
        None => run::run(&plan, &request.options, &*seen, &controlled[0]).map(Ended::Run),
    };
    let run = move || {
        let ended = catch_unwind(AssertUnwindSafe(run));
        let ended = ended.unwrap_or_else(|_| Err(Error::Panicked("the run has vanished".to_owned())));
        let _ = heard.send(Heard::Ended(ended));
    };
    thread::Builder::new().name("tdl-run".to_owned()).spawn(run).map_err(exhausted("start a thread"))?;

    let so_far = || {
        let summaries = controls.each_ref().map(Control::summary);
        let [first, second] = summaries;
        if second.total > 0 { second } else { first }
    };
    let heard = match longest {
        None => hear.recv().ok(),
        Some(longest) => hear.recv_timeout(longest).ok(),
    };
    // The run's own time is over, and a thread is stuck in a read.
    let Some(heard) = heard else {
        controls.iter().for_each(Control::cancel);
        let summary = so_far().out_of_time();
        let exit = Exit::of_run(&summary);
        last_words(&report, summary);
        return Ok(exit);
    };
    match heard {
        Heard::Ended(Ok(ended)) => Ok(with_output(conclude(&ended, &report), &report)),
        Heard::Ended(Err(failure)) if so_far().total == 0 => Err(failure.into()),
        Heard::Ended(Err(failure)) => {
            report.finish();
            to_stderr(&format!("{}\n", failure.chain()));
            report.summary(&so_far());
            Ok(Exit::Failed)
        }
        Heard::Signal(signal) => {
            controls.iter().for_each(Control::cancel);
            let _ = hear.recv_timeout(GRACE);
            last_words(&report, so_far());
            Ok(Exit::Interrupted(signal))
        }
    }
}

/// A run that needs a thread or a file that the system does not have now.
fn exhausted(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Exhausted { action, source }
}

fn conclude(ended: &Ended, report: &Report) -> Exit {
    match ended {
        Ended::Run(summary) => {
            report.summary(summary);
            Exit::of_run(summary)
        }
        Ended::Comparison(Compared::FirstOnly(first)) => {
            report.summary(first);
            Exit::of_unfinished_comparison(first)
        }
        Ended::Comparison(Compared::Both(comparison)) => {
            report.comparison(comparison);
            Exit::of_comparison(comparison)
        }
    }
}

/// A result that could not be written is a failure, whatever came of the downloads.
fn with_output(exit: Exit, report: &Report) -> Exit {
    match report.failure() {
        None => exit,
        Some(error) => {
            to_stderr(&format!("standard output: {error}\n"));
            Exit::Failed
        }
    }
}

/// Tells what an interrupted run came to, unless nobody reads it: a full pipe keeps no process alive.
fn last_words(report: &Arc<Report>, summary: Summary) {
    let (told, tell) = mpsc::channel();
    let report = Arc::clone(report);
    let tells = thread::Builder::new().spawn(move || {
        report.summary(&summary);
        let _ = told.send(());
    });
    if tells.is_ok() {
        let _ = tell.recv_timeout(LAST_WORDS);
    }
}
