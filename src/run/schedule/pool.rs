//! A pool of threads around one queue. It decides when each thread runs something; [`Work`] says what.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::permit::{Fate, Next, Permit};
use super::queue::Queue;
use super::task_result::TaskResult;
use super::work::Work;
use crate::error::{Error, RetryAfter};
use crate::run::growth::Addition;
use crate::run::retry::hold;
use crate::run::step::Step;

/// How often a waiting thread checks whether the run was stopped or a running download can be split.
const TICK: Duration = Duration::from_millis(25);

/// Works through the queue with a thread for each download up to `threads`, or up to `max_threads` while running
/// downloads can be split. Returns when all threads have ended.
///
/// # Errors
///
/// No thread could be started; nothing was done. If only some could be started, that is a warning.
pub fn run_pool<W: Work>(
    work: &W,
    queue: Queue<W::Transfer>,
    threads: usize,
    max_threads: usize,
    warn: impl Fn(&str),
) -> io::Result<()> {
    let first_threads = threads.min(queue.len()).max(1);
    let is_growing = queue.is_growing();
    let shared = Shared { queue, threads: 0, download_threads: threads, max_threads, busy: 0, idle: 0, is_done: false };
    let pool = &Pool { work, shared: Mutex::new(shared), task_available: Condvar::new(), timer: Condvar::new() };
    thread::scope(|scope| {
        let spawn = |number: usize| {
            let run = move || pool.run_thread(number);
            thread::Builder::new().name(format!("tdl-{number}")).spawn_scoped(scope, run).map(drop)
        };
        for number in 0..first_threads {
            match spawn(number) {
                Ok(()) => pool.lock().threads += 1,
                Err(error) if number == 0 => return Err(error),
                Err(error) => {
                    warn(&format!("only {number} of {first_threads} threads could be started: {error}"));
                    pool.lock().download_threads = number;
                    break;
                }
            }
        }
        if is_growing {
            let grow = || pool.grow();
            if let Err(error) = thread::Builder::new().name("tdl-list".to_owned()).spawn_scoped(scope, grow) {
                warn(&format!("the list is not read further: no thread could be started: {error}"));
                pool.end();
            }
        }
        pool.watch(spawn);
        Ok(())
    })
}

/// What the threads of a run share.
///
/// Lock order: pool, then the registry of splittable downloads, then a file's segments.
struct Pool<'w, W: Work> {
    work: &'w W,
    shared: Mutex<Shared<W::Transfer>>,
    /// Idle threads wait here for a task.
    task_available: Condvar,
    /// The calling thread waits here for the next deadline.
    timer: Condvar,
}

struct Shared<T> {
    queue: Queue<T>,
    threads: usize,
    /// The most threads to start for whole downloads.
    download_threads: usize,
    max_threads: usize,
    /// Threads that have a task.
    busy: usize,
    /// Threads that wait on `task_available`.
    idle: usize,
    is_done: bool,
}

impl<T> Shared<T> {
    /// Whether there are fewer threads than downloads, up to the limit.
    fn wants_thread(&self) -> bool {
        self.threads < self.download_threads.min(self.queue.len()).min(self.max_threads)
    }

    /// Starts another thread. Returns whether there is one.
    fn start_thread(&mut self, spawn: impl Fn(usize) -> io::Result<()>) -> bool {
        let result = spawn(self.threads);
        match &result {
            Ok(()) => self.threads += 1,
            // The system has no thread left: continue with those that run.
            Err(_) => self.max_threads = self.threads,
        }
        result.is_ok()
    }
}

/// Ends the queue of a pool when it is dropped.
struct EndOnDrop<'p, 'w, W: Work>(&'p Pool<'w, W>);

impl<W: Work> Drop for EndOnDrop<'_, '_, W> {
    fn drop(&mut self) {
        self.0.end();
    }
}

enum Task<T, S> {
    Download(Permit, Option<T>),
    Segment(Permit, S),
}

impl<W: Work> Pool<'_, W> {
    /// Adds downloads to the queue as the list brings them.
    fn grow(&self) {
        // Also if a reporter panics: the queue would never be done.
        let _end = EndOnDrop(self);
        loop {
            match self.work.next_addition(&|| !self.lock().queue.is_growing()) {
                Addition::Download(id) => self.add(id),
                Addition::StopsRun => {
                    let not_started = self.lock().queue.close();
                    not_started.into_iter().for_each(|id| self.work.report_not_started(id));
                }
                Addition::End => return,
            }
        }
    }

    fn add(&self, id: usize) {
        let mut shared = self.lock();
        let (host, hosts) = self.work.number_hosts(id);
        if !shared.queue.add(host, hosts) {
            drop(shared);
            return self.work.report_not_started(id);
        }
        if shared.wants_thread() {
            self.timer.notify_one();
        } else if shared.idle > 0 && shared.queue.is_ready() {
            self.task_available.notify_one();
        }
    }

    /// Ends the queue. One thread must notice if that was all.
    fn end(&self) {
        self.lock().queue.end();
        self.task_available.notify_one();
    }

    fn run_thread(&self, number: usize) {
        let mut worker = self.work.worker(number);
        while let Some(task) = self.next_task() {
            match task {
                Task::Download(permit, kept) => self.run_download(permit, kept, &mut worker),
                Task::Segment(permit, segment) => self.run_segment(permit, segment, &mut worker),
            }
        }
    }

    fn run_download(&self, permit: Permit, kept: Option<W::Transfer>, worker: &mut W::Worker) {
        let id = permit.id();
        match self.work.attempt(id, kept, worker) {
            Step::Finished(finished) => {
                let timing = self.work.timing(worker);
                let not_started = self.return_permit(permit, TaskResult::Finished(&finished, timing));
                self.work.report(id, &finished);
                not_started.into_iter().for_each(|id| self.work.report_not_started(id));
            }
            Step::Retry { transfer, wait, failure } => {
                let (now, host) = (Instant::now(), self.work.host_of(&transfer));
                let held_until = self.lock().queue.held_until(host);
                let at = held_until.map_or(now + wait, |held| held.max(now + wait));
                self.work.report_retry(&transfer, &failure, at - now);
                self.return_permit(permit, TaskResult::Retry(Fate::Retry { at, host, kept: transfer }, &failure));
            }
        }
    }

    fn run_segment(&self, permit: Permit, segment: W::Segment, worker: &mut W::Worker) {
        let result = self.work.fetch_segment(&segment, worker);
        self.return_permit(permit, TaskResult::Segment(&result));
        self.work.give_back_segment(segment, result.map(drop));
    }

    /// Returns a permit to the queue, with what its request has shown about the host. Returns the downloads that will
    /// not be started because the run stops here.
    fn return_permit(&self, permit: Permit, result: TaskResult<'_, W::Transfer>) -> Vec<usize> {
        let mut guard = self.lock();
        let shared = &mut *guard;
        if let Some(failure) = result.failure() {
            self.reduce_open_files(shared, failure);
            // After its last attempt, a download holds its host only if the host is throttling.
            if failure.is_throttled() || !matches!(result, TaskResult::Finished(..)) {
                self.hold_hosts(&mut shared.queue, &permit, failure);
            }
        }
        shared.busy -= 1;
        let mut not_started = Vec::new();
        if let TaskResult::Finished(finished, _) = &result
            && (self.work.stops_run(finished) || self.work.is_stopped())
        {
            not_started = shared.queue.close();
        }
        if let TaskResult::Retry(..) = &result {
            // This deadline may be earlier than the one that the calling thread waits for.
            self.timer.notify_one();
        }
        let feedback = result.feedback();
        if shared.queue.finish(permit, Instant::now(), feedback, result.into_fate()) {
            self.task_available.notify_one();
        }
        let hold_changes = shared.queue.take_hold_changes();
        drop(guard);
        for (host, until) in hold_changes {
            self.work.report_hold(host, until.map(|until| until.saturating_duration_since(Instant::now())));
        }
        not_started
    }

    /// Blocks until there is a task; `None` when nothing is left to do.
    ///
    /// A finished download makes room for one other, which its own thread takes when it gets here: no other is woken
    /// for that. Anything else that lets a download start wakes one thread, which wakes the next if there is more to
    /// do. If one can start because a wait has ended, the calling thread wakes a thread for it.
    fn next_task(&self) -> Option<Task<W::Transfer, W::Segment>> {
        let mut guard = self.lock();
        loop {
            let shared = &mut *guard;
            if shared.threads > shared.max_threads && !shared.is_done {
                shared.threads -= 1;
                // Another thread must handle what woke this one.
                self.task_available.notify_one();
                return None;
            }
            let task = match shared.queue.next(Instant::now()) {
                Next::Start(permit, kept) => Some(Task::Download(permit, kept)),
                Next::Done => {
                    shared.is_done = true;
                    self.task_available.notify_all();
                    self.timer.notify_all();
                    return None;
                }
                Next::Wait => self.take_segment_task(shared),
            };
            if task.is_some() {
                shared.busy += 1;
                if shared.idle > 0 && shared.queue.is_ready() {
                    self.task_available.notify_one();
                }
                return task;
            }
            shared.idle += 1;
            guard = self.task_available.wait(guard).unwrap_or_else(PoisonError::into_inner);
            guard.idle -= 1;
        }
    }

    fn take_segment_task(&self, shared: &mut Shared<W::Transfer>) -> Option<Task<W::Transfer, W::Segment>> {
        if !self.has_thread_for_segment(shared) {
            return None;
        }
        let queue = &mut shared.queue;
        let (id, segment) = self.work.take_segment(&mut |id, time_left| queue.permits_segment(id, time_left))?;
        // Lets the calling thread check whether more can be split.
        self.timer.notify_one();
        Some(Task::Segment(shared.queue.permit_segment(id, Instant::now()), segment))
    }

    /// Whether a thread may fetch a segment. At most half of the threads are reserved for waiting downloads. Otherwise
    /// one host on a long hold would prevent downloads from all other hosts from being split.
    fn has_thread_for_segment(&self, shared: &Shared<W::Transfer>) -> bool {
        let reserved = shared.queue.reserved().min(shared.max_threads / 2);
        shared.busy + reserved < shared.max_threads && !self.work.is_stopped()
    }

    /// Wakes threads when a download's wait ends, or when a running one can be split; starts more threads for
    /// segments where none is idle. Returns when nothing is left to do.
    fn watch(&self, spawn: impl Fn(usize) -> io::Result<()>) {
        let mut guard = self.lock();
        while !guard.is_done {
            let shared = &mut *guard;
            let now = Instant::now();
            if self.work.is_stopped() {
                shared.queue.end_all_waits();
            }
            shared.queue.end_waits_until(now);
            let late = shared.queue.take_late(now);
            shared.queue.tick(now, |host| self.work.traffic(host));
            while shared.wants_thread() && shared.start_thread(&spawn) {}
            let has_thread = self.has_thread_for_segment(shared);
            let queue = &mut shared.queue;
            let wants_segment =
                has_thread && self.work.wants_segment(&mut |id, time_left| queue.permits_segment(id, time_left));
            if shared.idle > 0 && (wants_segment || shared.queue.is_ready()) {
                self.task_available.notify_one();
            } else if shared.idle == 0 && wants_segment && shared.threads < shared.max_threads {
                shared.start_thread(&spawn);
            }
            if !late.is_empty() {
                // Not while locked: the reporter may be slow.
                drop(guard);
                late.into_iter().for_each(|id| self.work.report_late(id));
                guard = self.lock();
                continue;
            }
            let wait = shared.queue.next_time().map_or(TICK, |until| until.saturating_duration_since(now).min(TICK));
            (guard, _) = self.timer.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Obeys a `Retry-After`: holds the host of the download, and the one that a redirect led to. A 503 may be about one
    /// URL; it holds a host only if [`Queue::hold_for_load`] says so.
    fn hold_hosts(&self, queue: &mut Queue<W::Transfer>, permit: &Permit, failure: &Error) {
        let Some(RetryAfter { host, wait }) = hold(failure) else { return };
        let until = Instant::now() + *wait;
        let hosts = [Some(permit.host()), self.work.host_number(host)];
        for number in hosts.into_iter().flatten() {
            match failure.status() {
                Some(503) => queue.hold_for_load(number, permit.id(), until),
                _ => queue.hold(number, until),
            }
        }
    }

    /// Where too many files are open: closes idle connections, and reduces the threads by a quarter.
    fn reduce_open_files(&self, shared: &mut Shared<W::Transfer>, failure: &Error) {
        if failure.has_too_many_open_files() {
            self.work.close_idle_connections();
            shared.max_threads = shared.max_threads.min((shared.busy * 3 / 4).max(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<W::Transfer>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    use std::thread::ThreadId;

    use super::super::work::PermitsSegment;
    use super::*;
    use crate::http::{Timing, TrafficSnapshot};
    use crate::run::outcome::{Finished, Outcome, SkipReason};

    /// What each attempt does.
    type Script = Box<dyn Fn(&Fake, usize, Option<usize>) -> Step<usize> + Send + Sync>;

    /// Work without a network: every attempt does what the script says, with the download and what was kept of it.
    struct Fake {
        script: Script,
        /// How many segments each running download would like to have fetched.
        segments: Mutex<HashMap<usize, usize>>,
        stops_run: fn(&Finished) -> bool,
        is_stopped: AtomicBool,
        running: AtomicUsize,
        received: AtomicU64,
        most_running: AtomicUsize,
        threads: Mutex<HashSet<ThreadId>>,
        finished: Mutex<Vec<usize>>,
        not_started: Mutex<Vec<usize>>,
        /// How many downloads are added, one after another has started.
        additions: Mutex<std::ops::Range<usize>>,
        /// The waits that were reported, and the downloads that were late.
        waits: Mutex<Vec<Duration>>,
        late: Mutex<Vec<usize>>,
        fetched_segments: Mutex<Vec<usize>>,
        closed_idle: AtomicUsize,
        /// Most attempts at once since the last time that idle connections were closed.
        most_after: AtomicUsize,
    }

    impl Fake {
        fn new(script: impl Fn(&Self, usize, Option<usize>) -> Step<usize> + Send + Sync + 'static) -> Self {
            Self {
                script: Box::new(script),
                segments: Mutex::default(),
                stops_run: |_| false,
                is_stopped: AtomicBool::new(false),
                running: AtomicUsize::new(0),
                received: AtomicU64::new(0),
                most_running: AtomicUsize::new(0),
                threads: Mutex::default(),
                finished: Mutex::default(),
                not_started: Mutex::default(),
                additions: Mutex::new(0..0),
                waits: Mutex::default(),
                late: Mutex::default(),
                fetched_segments: Mutex::default(),
                closed_idle: AtomicUsize::new(0),
                most_after: AtomicUsize::new(0),
            }
        }

        /// Runs downloads, all of one host.
        fn run(&self, downloads: usize, per_host: usize, threads: usize, max_threads: usize) {
            let queue = Queue::new(vec![0; downloads], 1, per_host);
            run_pool(self, queue, threads, max_threads, |warning| panic!("{warning}")).unwrap();
        }

        fn finished(&self) -> Vec<usize> {
            let mut finished = self.finished.lock().unwrap().clone();
            finished.sort_unstable();
            finished
        }
    }

    impl Work for Fake {
        type Transfer = usize;
        type Segment = usize;
        type Worker = ();

        fn worker(&self, _: usize) {
            self.threads.lock().unwrap().insert(thread::current().id());
        }

        fn attempt(&self, id: usize, kept: Option<usize>, (): &mut ()) -> Step<usize> {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            let step = (self.script)(self, id, kept);
            self.running.fetch_sub(1, Ordering::SeqCst);
            step
        }

        fn host_of(&self, _: &usize) -> u32 {
            0
        }

        fn host_number(&self, _: &str) -> Option<u32> {
            Some(0)
        }

        fn timing(&self, (): &()) -> Option<Timing> {
            None
        }

        /// Every connection brings as much as the others.
        fn traffic(&self, _: u32) -> TrafficSnapshot {
            let connections = self.running.load(Ordering::SeqCst) as u64;
            let received = self.received.fetch_add(connections * 1000, Ordering::SeqCst);
            TrafficSnapshot { received, responses: received, ..TrafficSnapshot::default() }
        }

        fn wants_segment(&self, permits: PermitsSegment<'_>) -> bool {
            let segments = self.segments.lock().unwrap();
            segments.iter().any(|(id, count)| *count > 0 && permits(*id, Duration::from_secs(9)).is_some())
        }

        fn take_segment(&self, permits: PermitsSegment<'_>) -> Option<(usize, usize)> {
            let mut segments = self.segments.lock().unwrap();
            let mut wanted = segments.iter_mut().filter(|(_, count)| **count > 0);
            let (id, count) = wanted.find(|(id, _)| permits(**id, Duration::from_secs(9)).is_some())?;
            *count -= 1;
            Some((*id, *id))
        }

        fn fetch_segment(&self, segment: &usize, (): &mut ()) -> Result<bool, Error> {
            self.fetched_segments.lock().unwrap().push(*segment);
            Ok(true)
        }

        fn give_back_segment(&self, _: usize, result: Result<(), Error>) {
            result.unwrap();
        }

        fn next_addition(&self, is_closed: &dyn Fn() -> bool) -> Addition<usize> {
            if is_closed() {
                return Addition::End;
            }
            self.additions.lock().unwrap().next().map_or(Addition::End, Addition::Download)
        }

        fn number_hosts(&self, _: usize) -> (u32, usize) {
            (0, 1)
        }

        fn report(&self, id: usize, _: &Finished) {
            self.finished.lock().unwrap().push(id);
        }

        fn report_retry(&self, _: &usize, _: &Error, wait: Duration) {
            self.waits.lock().unwrap().push(wait);
        }

        fn report_hold(&self, _: u32, _: Option<Duration>) {}

        fn report_late(&self, id: usize) {
            self.late.lock().unwrap().push(id);
        }

        fn report_not_started(&self, id: usize) {
            self.not_started.lock().unwrap().push(id);
        }

        fn stops_run(&self, finished: &Finished) -> bool {
            (self.stops_run)(finished)
        }

        fn is_stopped(&self) -> bool {
            self.is_stopped.load(Ordering::SeqCst)
        }

        fn close_idle_connections(&self) {
            self.closed_idle.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn finish(outcome: Outcome) -> Step<usize> {
        let (attempts, transferred, time) = (1, 0, Duration::ZERO);
        Step::Finished(Finished {
            outcome,
            other_target: None,
            attempts,
            transferred,
            own_time: time,
            helper_time: time,
        })
    }

    fn skip() -> Step<usize> {
        finish(Outcome::Skipped(SkipReason::Exists))
    }

    fn retry(transfer: usize, wait: Duration) -> Step<usize> {
        Step::Retry { transfer, wait, failure: Error::Stalled(Duration::ZERO) }
    }

    #[test]
    fn every_download_finishes_once_in_no_more_threads_than_allowed() {
        let fake = Fake::new(|_, _, _| skip());
        fake.run(500, 100, 7, 7);
        assert_eq!(fake.finished(), (0..500).collect::<Vec<_>>());
        assert_eq!(fake.threads.lock().unwrap().len(), 7);
        assert!(fake.most_running.load(Ordering::SeqCst) <= 7);
    }

    #[test]
    fn every_download_that_is_added_finishes_in_a_thread_of_its_own_up_to_the_limit() {
        for (known, all, threads) in [(0, 0, 1), (0, 1, 1), (1, 5, 5), (0, 500, 7), (20, 500, 7)] {
            // None finishes before there are as many threads as there should be.
            let fake = Fake::new(move |fake, _, _| {
                while fake.threads.lock().unwrap().len() < threads {
                    thread::yield_now();
                }
                skip()
            });
            *fake.additions.lock().unwrap() = known..all;
            let queue = Queue::new(vec![0; known], 1, 100).growing();
            run_pool(&fake, queue, 7, 7, |warning| panic!("{warning}")).unwrap();
            assert_eq!(fake.finished(), (0..all).collect::<Vec<_>>());
            assert_eq!(fake.threads.lock().unwrap().len(), threads);
        }
    }

    #[test]
    fn nothing_is_added_after_an_outcome_that_stops_the_run() {
        let mut fake = Fake::new(|_, _, _| skip());
        fake.stops_run = |_| true;
        *fake.additions.lock().unwrap() = 1..1_000_000;
        let queue = Queue::new(vec![0], 1, 1).growing();
        run_pool(&fake, queue, 4, 4, |warning| panic!("{warning}")).unwrap();
        let added = fake.additions.lock().unwrap().start;
        assert!(added < 1_000_000, "the list is not read to its end");
        assert_eq!(fake.finished().len() + fake.not_started.lock().unwrap().len(), added, "each was reported");
    }

    #[test]
    fn as_many_run_at_once_as_the_host_permits() {
        // No attempt ends before three run.
        let three = Barrier::new(3);
        let fake = Fake::new(move |_, _, _| {
            three.wait();
            skip()
        });
        fake.run(9, 3, 8, 8);
        assert_eq!((fake.finished().len(), fake.most_running.load(Ordering::SeqCst)), (9, 3));
    }

    #[test]
    fn a_retry_continues_with_what_was_kept() {
        let fake = Fake::new(|_, id, kept| match kept.unwrap_or(0) {
            retries if retries == id => skip(),
            retries => retry(retries + 1, Duration::ZERO),
        });
        fake.run(6, 2, 4, 4);
        assert_eq!(fake.finished(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn idle_threads_fetch_segments_and_more_threads_are_started_for_them() {
        let fake = Fake::new(|fake, id, _| {
            fake.segments.lock().unwrap().insert(id, 5);
            while fake.fetched_segments.lock().unwrap().len() < 5 {
                thread::yield_now();
            }
            skip()
        });
        fake.run(1, 3, 1, 4);
        assert_eq!((fake.finished(), fake.fetched_segments.lock().unwrap().len()), (vec![0], 5));
        assert!((2..=4).contains(&fake.threads.lock().unwrap().len()));
    }

    #[test]
    fn a_segment_needs_a_permit_of_its_host() {
        let fake = Fake::new(|fake, id, _| {
            fake.segments.lock().unwrap().insert(id, 1);
            skip()
        });
        fake.run(50, 1, 4, 4);
        assert_eq!(fake.finished().len(), 50);
        assert!(fake.fetched_segments.lock().unwrap().is_empty(), "the download itself has the only permit");
    }

    #[test]
    fn nothing_new_starts_after_an_outcome_that_stops_the_run() {
        let mut fake = Fake::new(|_, _, _| skip());
        fake.stops_run = |_| true;
        fake.run(10, 1, 4, 4);
        assert_eq!(
            (fake.finished(), fake.not_started.lock().unwrap().as_slice()),
            (vec![0], [1, 2, 3, 4, 5, 6, 7, 8, 9].as_slice())
        );
    }

    #[test]
    fn stopping_ends_every_wait() {
        let fake = Fake::new(|fake, id, kept| {
            if id == 2 {
                fake.is_stopped.store(true, Ordering::SeqCst);
            }
            if kept.is_some() { finish(Outcome::Cancelled) } else { retry(0, Duration::from_secs(3600)) }
        });
        fake.run(3, 1, 2, 2);
        assert_eq!(fake.finished(), [0, 1, 2]);
    }

    #[test]
    fn with_too_many_open_files_there_are_fewer_threads() {
        let four = Barrier::new(4);
        let fake = Fake::new(move |fake, id, kept| {
            if id < 4 && kept.is_none() {
                four.wait();
                let source = io::Error::from_raw_os_error(if cfg!(windows) { 4 } else { 24 });
                let failure = Error::Exhausted { action: "connect", source };
                return Step::Retry { transfer: 0, wait: Duration::ZERO, failure };
            }
            if fake.closed_idle.load(Ordering::SeqCst) == 4 {
                fake.most_after.fetch_max(fake.running.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            skip()
        });
        fake.run(100, 8, 4, 4);
        assert_eq!((fake.finished().len(), fake.closed_idle.load(Ordering::SeqCst)), (100, 4));
        assert_eq!(fake.most_after.load(Ordering::SeqCst), 1, "three quarters of four, of three, of two, of one");
    }

    #[test]
    fn a_download_that_was_given_up_holds_its_host_only_if_that_is_overloaded() {
        for (code, is_held) in [(429, true), (503, false), (500, false), (408, false), (404, false)] {
            let fake = Fake::new(move |fake, id, _| {
                if id > 0 {
                    fake.is_stopped.store(true, Ordering::SeqCst);
                    return skip();
                }
                let retry_after = Some(Box::new(RetryAfter { host: "h:80".to_owned(), wait: Duration::from_secs(60) }));
                finish(Outcome::Failed(Error::Status { code, reason: "", retry_after }))
            });
            let mut queue = Queue::new(vec![0; 2], 1, 1);
            let Next::Start(permit, None) = queue.next(Instant::now()) else { panic!("nothing to start") };
            let shared =
                Shared { queue, threads: 1, download_threads: 1, max_threads: 1, busy: 1, idle: 0, is_done: false };
            let shared = Mutex::new(shared);
            let pool = Pool { work: &fake, shared, task_available: Condvar::new(), timer: Condvar::new() };
            pool.run_download(permit, None, &mut ());
            let next = pool.lock().queue.next(Instant::now());
            assert_eq!(matches!(next, Next::Wait), is_held, "{code}");
        }
    }
}
