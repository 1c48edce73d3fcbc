//! How a task of a thread has ended, and what that tells the queue.

use super::limiter::Served;
use super::permit::{Fate, Feedback};
use crate::error::Error;
use crate::http::Timing;
use crate::run::outcome::{Finished, Outcome, SkipReason};

/// How a task has ended.
pub enum TaskResult<'f, T> {
    Finished(&'f Finished, Option<Timing>),
    Retry(Fate<T>, &'f Error),
    Segment(&'f Result<bool, Error>),
}

impl<T> TaskResult<'_, T> {
    pub fn failure(&self) -> Option<&Error> {
        match self {
            Self::Finished(finished, _) => match &finished.outcome {
                Outcome::Failed(failure) => Some(failure),
                _ => None,
            },
            Self::Retry(_, failure) => Some(failure),
            Self::Segment(result) => result.as_ref().err(),
        }
    }

    pub fn feedback(&self) -> Feedback {
        if self.failure().is_some_and(Error::is_refusal) {
            return Feedback::Refused;
        }
        match self {
            Self::Finished(Finished { outcome: Outcome::Fetched(_), transferred, helper_time, .. }, timing) => {
                // A file that was split says nothing about requests for whole files.
                let timing = timing.filter(|_| helper_time.is_zero());
                Feedback::Served(timing.map(|timing| Served { timing, bytes: *transferred }))
            }
            Self::Finished(finished, _)
                if matches!(
                    finished.outcome,
                    Outcome::Skipped(SkipReason::Unchanged) | Outcome::Failed(Error::Status { .. } | Error::Range(_))
                ) =>
            {
                Feedback::Served(None)
            }
            Self::Segment(Ok(true)) => Feedback::Served(None),
            _ => Feedback::Unknown,
        }
    }

    pub fn into_fate(self) -> Fate<T> {
        match self {
            Self::Finished(..) => Fate::Finished,
            Self::Retry(then, _) => then,
            Self::Segment(_) => Fate::Segment,
        }
    }
}
