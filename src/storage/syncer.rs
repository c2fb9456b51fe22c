//! Group sync: everyone who asked before a sync began shares it.
//!
//! ```text
//! ask ─► waiting ─┬─ idle: queued ─► a thread takes all waiting, syncs, answers them
//!                 └─ a sync of the same target runs: queued again when it ends
//! ```
//!
//! **Invariant:** a target is synced by one thread at a time, several targets in parallel.
//! **Invariant:** a request is answered by a sync that began after it was made.
//! Deliberately elsewhere: what a sync does ([`SyncTarget`]) and what an error leads to (its target).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use super::locks::lock;

/// Called once, on a sync thread, when what it waited for is on disk, or with the error. It must
/// not block: others wait on the same thread.
pub type SyncDone = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Something whose bytes are put on the disk as a whole.
pub(super) trait SyncTarget: Send + Sync + 'static {
    /// Its place in the queue.
    fn ticket(&self) -> &SyncTicket;

    /// Puts on the disk what was written before the call.
    fn sync_now(&self) -> io::Result<()>;
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

/// The sync threads. Clone shares them; they start when there is work and end with the last clone.
#[derive(Clone)]
pub(super) struct Syncer(Arc<Handle>);

struct Handle(Arc<Queue>);

struct Queue {
    state: Mutex<QueueState>,
    work: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct QueueState {
    ready: VecDeque<Arc<dyn SyncTarget>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Syncer {
    /// A syncer that runs up to `threads_max` syncs at a time.
    pub(super) fn new(threads_max: usize) -> Self {
        let queue = Queue {
            state: Mutex::default(),
            work: Condvar::new(),
            threads_max: threads_max.max(1),
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

impl Queue {
    fn push(self: &Arc<Self>, target: Arc<dyn SyncTarget>) {
        let mut state = lock(&self.state);
        state.ready.push_back(target);
        if state.idle >= state.ready.len() || state.threads == self.threads_max {
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
        while let Some(target) = self.next() {
            let waiting = std::mem::take(&mut lock(&target.ticket().0).waiting);
            let result = target.sync_now();
            // In order: the next round begins only when these have been told.
            for done in waiting {
                done(match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                });
            }
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
    }

    /// The next target; waits for one. `None` when the syncer was dropped and the queue is empty.
    fn next(&self) -> Option<Arc<dyn SyncTarget>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(target) = state.ready.pop_front() {
                return Some(target);
            }
            if state.closed {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).expect("a thread panicked while it held this lock");
            state.idle -= 1;
        }
    }
}
