//! Adds what a growing list brings to the plan, counts it and reports it.

use super::directory::must_avoid;
use super::event::Event;
use super::growing_list::{Item, Received};
use super::session::Session;
use crate::plan::Download;

/// What comes next of a list that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition<D> {
    /// A download, which is in the plan.
    Download(D),
    /// A failure after which nothing new may start.
    StopsRun,
    /// Nothing: the list has ended, or the run was stopped.
    End,
}

/// Waits for the next download of the list, or for something that stops the run. `is_closed` says whether nothing new
/// may start: then nothing is taken from the list.
pub fn next_addition<'a>(session: &Session<'a>, is_closed: &dyn Fn() -> bool) -> Addition<&'a Download> {
    let Some(list) = &session.list else { return Addition::End };
    loop {
        match list.next(|| session.is_stopped() || is_closed()) {
            Received::Item(item) => match add(item, session) {
                Ok(Some(download)) => return Addition::Download(download),
                Err(Rejected) if session.limits.fail_fast => return Addition::StopsRun,
                Ok(None) | Err(Rejected) => {}
            },
            Received::End => {
                end(session);
                return Addition::End;
            }
            Received::Nothing => return Addition::End,
        }
    }
}

/// Adds what has arrived, up to a number of items: the total is then known earlier. Returns false if something in it
/// stops the run.
pub fn add_arrived(session: &Session<'_>, limit: usize) -> bool {
    let Some(list) = &session.list else { return true };
    for _ in 0..limit {
        match list.next_arrived() {
            Received::Item(item) => {
                if add(item, session).is_err() && session.limits.fail_fast {
                    return false;
                }
            }
            Received::End => {
                end(session);
                break;
            }
            Received::Nothing => break,
        }
    }
    true
}

/// Records that the list has ended, and reports it once.
fn end(session: &Session<'_>) {
    if session.stats.end_list() {
        session.emit(&Event::ListEnded(session.plan));
    }
}

/// An item that is not in the plan because something is wrong with it.
struct Rejected;

/// Adds an item to the plan. Returns its download, or `None` if it is a duplicate.
fn add<'a>(item: Item, session: &Session<'a>) -> Result<Option<&'a Download>, Rejected> {
    let (place, problem) = match item {
        Item::Entry(entry) => {
            let place = entry.place();
            match session.plan.add(entry, |target| must_avoid(target, session.output)) {
                Ok(Some(download)) => {
                    session.stats.count_added();
                    session.emit(&Event::Added(download));
                    return Ok(Some(download));
                }
                Ok(None) => return Ok(None),
                Err(error) => (place, error.to_string()),
            }
        }
        Item::Warning(warning) => {
            session.emit(&Event::Warning(&warning));
            return Ok(None);
        }
        Item::Invalid { place, problem } => (place, problem),
    };
    session.stats.count_invalid(session.plan.len(), place, &problem);
    session.emit(&Event::Invalid { place, problem: &problem });
    Err(Rejected)
}
