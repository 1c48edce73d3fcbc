//! DOING it: carries out a plan and says how it went. Knows no command line, no bar and no terminal.

mod body;
mod context;
mod control;
mod engine;
mod event;
mod help;
mod landing;
mod open_files;
mod outcome;
mod pace;
mod queue;
mod resuming;
mod retry;
mod sequential;
mod transfer;
mod turn;

use std::path::Path;

pub use control::Control;
pub use event::{Event, Progress, Reporter};
pub use outcome::{FailureNote, Fetched, Finished, Outcome, Skip, Summary};

use crate::error::Error;
use crate::http::Clients;
use crate::options::{IfExists, Mode, Options, Output};
use crate::part::{self, Checkpointer, TargetState};
use crate::plan::Plan;
use crate::url::WebUrl;
use context::{Context, Worker};
use help::Board;

/// Carries out a plan: its directory, its threads or its loop, every download to its end.
///
/// `reporter` hears what happens, and `()` will do; `control` can be read and asked to end the run meanwhile,
/// and is for this run alone. One download's failure spoils no other.
///
/// # Errors
///
/// The output directory cannot be made, or not written to although something is to be fetched; nothing was started.
pub fn run(plan: &Plan, options: &Options, reporter: &dyn Reporter, control: &Control) -> Result<Summary, Error> {
    make_directory(&options.output.directory, options.output.fsync)?;
    run_in(plan, options, reporter, control)
}

/// Carries out a plan in a directory that is there, and in which a comparison may be under way.
pub(crate) fn run_in(
    plan: &Plan,
    options: &Options,
    reporter: &dyn Reporter,
    control: &Control,
) -> Result<Summary, Error> {
    let began_empty = part::is_empty_directory(&options.output.directory);
    check_writable(plan, &options.output)?;
    let limits = &options.limits;
    let (jobs, most) = match limits.mode {
        Mode::Sequential => (1, 1),
        Mode::Concurrent => {
            let jobs = limits.jobs.min(plan.downloads().len()).max(1);
            (jobs, if limits.split { limits.jobs } else { jobs })
        }
    };
    let affordable = open_files::affordable(jobs, most, reporter);
    let clients = Clients::new(&options.network, affordable.most, affordable.idle)?;
    let (board, checkpointer) = (Board::default(), Checkpointer::default());
    let context = Context {
        plan,
        output: &options.output,
        retry: &options.retry,
        limits,
        checkpointer: &checkpointer,
        began_empty,
        board: Some(&board).filter(|_| limits.mode == Mode::Concurrent && limits.split),
        control,
        reporter,
    };
    control.start(plan.downloads().len(), limits);
    reporter.event(&Event::Planned(plan, limits.mode));
    match limits.mode {
        Mode::Sequential => sequential::sequential(&context, &clients),
        Mode::Concurrent => engine::concurrent(&context, &clients, affordable),
    }
    Ok(control.summary())
}

/// Downloads one file into a directory, under the name that its URL ends in, and blocks until it is whole.
///
/// The directory is made if it is missing. What is there already is never replaced. Failures that may pass are tried
/// again, as [`Options::default`](crate::options::Options) says. To choose, or to download a list, use [`run()`].
///
/// # Errors
///
/// [`Error::Url`] if `url` is no absolute http or https URL, [`Error::Download`] with the typed reason if the file
/// did not come whole or exists.
///
/// # Examples
///
/// ```
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/hello.txt", listener.local_addr()?);
/// # let server = std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     stream.read(&mut [0; 4096]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// # });
/// # let scratch = tempfile::tempdir()?;
/// # let directory = scratch.path();
/// let file = tdl::download_file(&url, directory)?;
///
/// assert_eq!(file.name.as_str(), "hello.txt");
/// assert_eq!(std::fs::read(directory.join("hello.txt"))?, b"hello");
/// # server.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn download_file(url: &str, directory: impl AsRef<Path>) -> Result<Fetched, Error> {
    let plan = Plan::new(vec![WebUrl::parse(url)?], |_| false);
    let directory = directory.as_ref().to_owned();
    let output = Output { directory, if_exists: IfExists::Fail, ..Output::default() };
    make_directory(&output.directory, output.fsync)?;
    check_writable(&plan, &output)?;
    let options = Options { output, ..Options::default() };
    let clients = Clients::new(&options.network, 1, 1)?;
    let control = Control::default();
    let Options { output, retry, limits, .. } = &options;
    let (checkpointer, plan) = (&Checkpointer::default(), &plan);
    let (board, began_empty) = (None, false);
    let context =
        Context { plan, output, retry, limits, checkpointer, board, began_empty, control: &control, reporter: &() };
    let finished =
        sequential::to_its_end(&plan.downloads()[0], &context, &clients, &mut Worker::new(clients.for_thread(0)));
    match finished.outcome {
        Outcome::Fetched(file) => Ok(file),
        Outcome::Failed(failure) => Err(failure),
        // What exists fails here, and nobody can cancel this.
        Outcome::Skipped(_) | Outcome::Cancelled => Err(Error::Cancelled),
    }
}

/// Checks once, before the first request, that files can be made in the output directory. It need not be so if every
/// file is there and none is to be replaced: a rerun in a read-only directory succeeds.
fn check_writable(plan: &Plan, output: &Output) -> Result<(), Error> {
    let is_missing = |path: &Path| part::target_state(path).is_ok_and(|place| place == TargetState::Free);
    let wants_a_file = || match output.if_exists {
        IfExists::Overwrite | IfExists::Rename => !plan.downloads().is_empty(),
        IfExists::Skip | IfExists::Fail | IfExists::Update => {
            plan.downloads().iter().any(|download| is_missing(&download.path(&output.directory)))
        }
    };
    // In this order: looking for every file of a long list takes longer, on a network file system above all.
    part::check_writable(&output.directory).or_else(|failure| if wants_a_file() { Err(failure) } else { Ok(()) })
}

/// Makes a directory and those above it. If `durable`, the names of those that were missing are put onto the disk, for
/// a file in a directory that is lost is lost as well.
pub(crate) fn make_directory(path: &Path, durable: bool) -> Result<(), Error> {
    let refused = |source| Error::Disk { action: "make the directory", path: path.to_owned(), source };
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    std::fs::create_dir_all(path).map_err(refused)?;
    if durable {
        for made in missing {
            part::sync_parent(made)?;
        }
    }
    Ok(())
}
