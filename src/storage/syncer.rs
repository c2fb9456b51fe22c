//! Group sync: everyone who asked before a sync began shares it, and so do many logs of one volume.
//!
//! ```text
//! ask ─► waiting ─┬─ idle: queued ─► a thread takes one target and all its waiting, syncs, answers
//!                 │                  or all targets of the volume at once, where that is cheaper
//!                 └─ a sync of the same target runs: queued again when it ends
//! not yet, for want of a descriptor ─► waiting, the first of all ─ a while later ─► queued
//! ```
//!
//! **Invariant:** a target is synced by one thread at a time, several targets in parallel.
//! **Invariant:** a request is answered by a sync that began after it was made.
//! Deliberately elsewhere: what a sync does ([`SyncTarget`]), what an error leads to (its target), and
//! which way is cheaper ([`SyncChoice`]).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::background::Background;
use super::locks::lock;
use super::sync_choice::SyncChoice;
use super::workers::Workers;

/// Between two attempts to sync a target: nobody tells when what it lacked is there again.
const PUT_OFF: Duration = Duration::from_secs(1);

/// Called once, on a sync thread, when what it waited for is on disk, or with the error. It must
/// not block: others wait on the same thread.
pub type SyncDone = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Puts a whole volume on the disk.
pub(super) type VolumeSync = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// How a sync of a target ended; `None` where it was not synced for want of what will be there later.
pub(super) type Ended = Option<io::Result<()>>;

/// Takes in how the sync of the volume ended that covers a target.
pub(super) type Finish<'a> = Box<dyn FnOnce(&io::Result<()>) -> Ended + 'a>;

/// Something whose bytes are put on the disk as a whole.
pub(super) trait SyncTarget: Send + Sync + 'static {
    /// Its place in the queue.
    fn ticket(&self) -> &SyncTicket;

    /// Puts on the disk what was written before the call. Others wait for this thread: it does not
    /// wait for what may take long.
    fn sync_now(&self) -> Ended;

    /// Whether a sync of the volume does the same.
    fn is_on_volume(&self) -> bool {
        false
    }

    /// Notes what a sync of the volume that begins after this call covers.
    fn begin_on_volume(&self) -> Finish<'_> {
        Box::new(|_| self.sync_now())
    }
}

/// A target's requests and whether it is queued or being synced.
#[derive(Default)]
pub(super) struct SyncTicket(Mutex<TicketState>);

#[derive(Default)]
struct TicketState {
    waiting: Vec<SyncDone>,
    /// In the queue, or taken by a thread that has not finished.
    busy: bool,
}

#[cfg(test)]
impl SyncTicket {
    /// Whether a sync was asked for and its thread has not put the target back.
    pub(super) fn is_busy(&self) -> bool {
        lock(&self.0).busy
    }
}

/// The sync threads. Clone shares them; they start when there is work and end with the last clone.
#[derive(Clone)]
pub(super) struct Syncer(Arc<Handle>);

struct Handle(Arc<Queue>);

struct Queue {
    state: Mutex<QueueState>,
    work: Condvar,
    threads_max: usize,
    volume: Option<VolumeSync>,
    workers: Option<Arc<dyn Workers>>,
    background: Arc<Background>,
}

#[derive(Default)]
struct QueueState {
    /// Those that only sync by themselves.
    alone: VecDeque<Arc<dyn SyncTarget>>,
    on_volume: VecDeque<Arc<dyn SyncTarget>>,
    choice: SyncChoice,
    /// Syncs of single targets that run.
    active: usize,
    /// A sync of the volume runs: those on the volume wait for it to end, to share the next.
    volume_runs: bool,
    threads: usize,
    idle: usize,
    closed: bool,
}

enum Job {
    One(Arc<dyn SyncTarget>),
    Volume(VecDeque<Arc<dyn SyncTarget>>),
}

impl Syncer {
    /// A syncer that runs up to `threads_max` syncs at a time; with `volume`, also of all targets
    /// at once. `workers` do it in place of threads, and `background` tells when it is time for another attempt.
    pub(super) fn new(
        threads_max: usize,
        volume: Option<VolumeSync>,
        workers: Option<Arc<dyn Workers>>,
        background: Arc<Background>,
    ) -> Self {
        let queue = Queue {
            state: Mutex::default(),
            work: Condvar::new(),
            threads_max: threads_max.max(1),
            volume,
            workers,
            background,
        };
        Self(Arc::new(Handle(Arc::new(queue))))
    }

    /// Asks for a sync of `target` that begins after this call.
    pub(super) fn ask(&self, target: Arc<dyn SyncTarget>, done: SyncDone) {
        {
            let mut ticket = lock(&target.ticket().0);
            ticket.waiting.push(done);
            if ticket.busy {
                return;
            }
            ticket.busy = true;
        }
        self.0.0.push(target);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.work.notify_all();
    }
}

impl QueueState {
    /// What a thread is to do next, if anything can be done now.
    fn take(&mut self, has_volume: bool) -> Option<Job> {
        if let Some(target) = self.alone.pop_front() {
            return Some(Job::One(target));
        }
        if self.volume_runs || self.on_volume.is_empty() {
            return None;
        }
        if has_volume && self.choice.is_volume(self.on_volume.len(), Instant::now()) {
            self.volume_runs = true;
            return Some(Job::Volume(std::mem::take(&mut self.on_volume)));
        }
        self.on_volume.pop_front().map(Job::One)
    }

    fn is_empty(&self) -> bool {
        self.alone.is_empty() && self.on_volume.is_empty()
    }
}

impl Queue {
    fn push(self: &Arc<Self>, target: Arc<dyn SyncTarget>) {
        let mut state = lock(&self.state);
        let on_volume = target.is_on_volume();
        let queue = if on_volume { &mut state.on_volume } else { &mut state.alone };
        queue.push_back(target);
        if let Some(workers) = &self.workers {
            drop(state);
            let queue = Arc::clone(self);
            return workers.sync(Box::new(move || queue.run_next()));
        }
        if on_volume && state.volume_runs {
            // Its thread comes back for it.
            return;
        }
        let ready = state.alone.len() + state.on_volume.len();
        if state.idle >= ready || state.threads == self.threads_max {
            drop(state);
            self.work.notify_one();
            return;
        }
        state.threads += 1;
        let name = format!("sync-{}", state.threads);
        drop(state);
        let queue = Arc::clone(self);
        let spawned =
            std::thread::Builder::new().name(name).stack_size(256 << 10).spawn(move || queue.run());
        if let Err(error) = spawned {
            let mut state = lock(&self.state);
            state.threads -= 1;
            // With no thread at all nobody would ever answer: the process is out of threads.
            assert!(state.threads > 0, "cannot start the first sync thread: {error}");
        }
    }

    fn run(self: Arc<Self>) {
        while let Some(job) = self.next() {
            self.run_job(job);
        }
    }

    /// Does one job, if there is any: whoever was queued has asked for one.
    fn run_next(self: Arc<Self>) {
        let job = lock(&self.state).take(self.volume.is_some());
        if let Some(job) = job {
            self.run_job(job);
        }
    }

    fn run_job(self: &Arc<Self>, job: Job) {
        match job {
            Job::One(target) => self.sync_one(target),
            Job::Volume(targets) => self.sync_volume(targets),
        }
    }

    fn sync_one(self: &Arc<Self>, target: Arc<dyn SyncTarget>) {
        let active = {
            let mut state = lock(&self.state);
            state.active += 1;
            state.active
        };
        let waiting = take_waiting(&*target);
        let begun = Instant::now();
        let ended = target.sync_now();
        let took = begun.elapsed();
        {
            let mut state = lock(&self.state);
            if target.is_on_volume() && ended.is_some() {
                let active = active.midpoint(state.active);
                state.choice.note_file(took, active);
            }
            state.active -= 1;
        }
        self.finish(target, waiting, ended);
    }

    fn sync_volume(self: &Arc<Self>, targets: VecDeque<Arc<dyn SyncTarget>>) {
        let begun: Vec<_> = targets
            .iter()
            .map(|target| {
                let waiting = take_waiting(&**target);
                (waiting, target.begin_on_volume())
            })
            .collect();
        let started = Instant::now();
        let result = self.volume.as_ref().map_or(Ok(()), |sync| sync());
        lock(&self.state).choice.note_volume(started.elapsed(), targets.len());
        for ((waiting, finish), target) in begun.into_iter().zip(&targets) {
            self.finish(Arc::clone(target), waiting, finish(&result));
        }
        // Only now: what those who were told have asked for since is queued, and shares the next.
        lock(&self.state).volume_runs = false;
        self.work.notify_all();
    }

    fn finish(self: &Arc<Self>, target: Arc<dyn SyncTarget>, waiting: Vec<SyncDone>, ended: Ended) {
        match ended {
            Some(result) => {
                answer(waiting, &result);
                self.put_back(target);
            }
            None => self.put_off(target, waiting),
        }
    }

    /// Queues a target again after a while. It keeps the storage, and with it the thread that tells the time, until then.
    fn put_off(self: &Arc<Self>, target: Arc<dyn SyncTarget>, waiting: Vec<SyncDone>) {
        lock(&target.ticket().0).waiting.splice(0..0, waiting);
        let (queue, later) = (Arc::clone(self), Arc::clone(&target));
        if self.background.run_after(PUT_OFF, move || queue.push(later)).is_err() {
            // There is no thread that tells the time.
            self.push(target);
        }
    }

    /// Queues a target again that was asked for meanwhile.
    fn put_back(self: &Arc<Self>, target: Arc<dyn SyncTarget>) {
        let again = {
            let mut ticket = lock(&target.ticket().0);
            ticket.busy = !ticket.waiting.is_empty();
            ticket.busy
        };
        if again {
            // To the back: a busy log must not starve the others.
            self.push(target);
        }
    }

    /// The next job; waits for one. `None` when the syncer was dropped and the queue is empty.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.take(self.volume.is_some()) {
                return Some(job);
            }
            if state.closed && state.is_empty() {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).expect("a thread panicked while it held this lock");
            state.idle -= 1;
        }
    }
}

fn take_waiting(target: &dyn SyncTarget) -> Vec<SyncDone> {
    std::mem::take(&mut lock(&target.ticket().0).waiting)
}

/// In order: the target's next round begins only when these have been told.
fn answer(waiting: Vec<SyncDone>, result: &io::Result<()>) {
    for done in waiting {
        done(match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        });
    }
}
