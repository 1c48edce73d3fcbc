//! What is remembered of a download between its attempts.

use std::sync::Arc;
use std::time::Duration;

use super::claimed_names::ClaimedName;
use super::event::Progress;
use super::outcome::{Finished, Outcome};
use super::resume_policy::ResumePolicy;
use super::retry::History;
use super::split::SplitBackoff;
use crate::plan::{Download, Source, Target};
use crate::url::WebUrl;

/// A download that has not finished.
#[derive(Debug)]
pub struct Transfer<'a> {
    pub download: &'a Download,
    pub progress: Arc<Progress>,
    pub resume_policy: ResumePolicy,
    pub split_backoff: Arc<SplitBackoff>,
    /// The URL that redirects led to when the part file was received. It is requested first when resuming.
    pub effective_url: Option<WebUrl>,
    /// The name that its file has or will have, if it is not the planned one.
    pub located: Option<Target>,
    /// The name that the server's latest response led to, where the server names files.
    pub remote_name: Option<ClaimedName>,
    pub attempts: u32,
    pub history: History,
    /// The time of its attempts and of the waits between them.
    pub own_time: Duration,
    /// The index of the source in use.
    source: usize,
}

impl<'a> Transfer<'a> {
    pub fn new(download: &'a Download) -> Self {
        Self {
            download,
            progress: Arc::default(),
            resume_policy: ResumePolicy::default(),
            split_backoff: Arc::default(),
            effective_url: None,
            located: None,
            remote_name: None,
            attempts: 0,
            history: History::default(),
            own_time: Duration::ZERO,
            source: 0,
        }
    }

    /// The target that its file is to have, as far as that is known.
    pub fn target(&self) -> &Target {
        let chosen = self.remote_name.as_ref().map(ClaimedName::target).or(self.located.as_ref());
        chosen.unwrap_or(self.download.target())
    }

    /// The source in use.
    pub fn source(&self) -> &'a Source {
        &self.download.sources()[self.source]
    }

    pub fn has_next_source(&self) -> bool {
        self.source + 1 < self.download.sources().len()
    }

    /// Switches to the next source. What was learnt about the previous source does not apply to it.
    pub fn use_next_source(&mut self) {
        self.source += 1;
        (self.history, self.resume_policy) = (History::default(), ResumePolicy::default());
        self.effective_url = None;
        self.split_backoff.forget_server();
    }

    pub fn finished(&self, outcome: Outcome) -> Finished {
        Finished {
            outcome,
            other_target: Some(self.target()).filter(|target| *target != self.download.target()).cloned(),
            attempts: self.attempts,
            transferred: self.progress.transferred(),
            own_time: self.own_time,
            helper_time: self.split_backoff.helper_time(),
        }
    }
}
