//! The coordinator: groups in memory while this node leads the metadata group, requests that wait,
//! one timer, one queue of commits.
//!
//! **Invariant:** a group is only touched under its shard's lock and only while the role, read
//! under that lock, is active; so whoever waits when the role ends is found and answered.
//! **Invariant:** locks are taken in the order shard → (role | timers | commits), are short, and are
//! never held across an await.
//!
//! A coordinator that hears no majority answers nothing from memory, and after a second nobody waits for it any more.
//! Losing the role drops everything volatile. Gaining it loads what the store has; sessions start
//! over, so members that go on with their heartbeats notice nothing but the move.

mod commits;
mod groups;
mod inspect;
mod role;
mod sweep;
mod timer;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::{GroupOptions, GroupStore, Now, Term, Ticks, TopicLookup};
use crate::model::Clock;
use commits::CommitQueue;
use groups::Shard;
use role::Role;
use timer::Timers;

/// Lock stripes of the group map.
const SHARDS: usize = 16;

/// What a coordinator is made of.
pub struct CoordinatorParts {
    /// Limits and delays.
    pub options: GroupOptions,
    /// Where groups live.
    pub store: Arc<dyn GroupStore>,
    /// The cluster's topics.
    pub topics: Arc<dyn TopicLookup>,
    /// Stamps commits.
    pub clock: Arc<dyn Clock>,
    /// Measures sessions.
    pub ticks: Arc<dyn Ticks>,
}

/// Handle of the node's group coordinator.
#[derive(Clone)]
pub struct Coordinator(Arc<Inner>);

struct Inner {
    options: Arc<GroupOptions>,
    store: Arc<dyn GroupStore>,
    topics: Arc<dyn TopicLookup>,
    clock: Arc<dyn Clock>,
    ticks: Arc<dyn Ticks>,
    role: Mutex<Role>,
    shards: Vec<Mutex<Shard>>,
    groups: AtomicUsize,
    tokens: AtomicU64,
    timers: Mutex<Timers>,
    timer_wake: Notify,
    sweep_wake: Notify,
    commits: Mutex<CommitQueue>,
    commit_wake: Notify,
    /// Whether this node coordinates, and has not been sure of it for long: whoever waits is to look elsewhere.
    cut_off: watch::Sender<bool>,
}

impl Coordinator {
    /// A coordinator that does not coordinate yet; [`Coordinator::run`] makes it.
    #[must_use]
    pub fn new(parts: CoordinatorParts) -> Self {
        let CoordinatorParts { options, store, topics, clock, ticks } = parts;
        Self(Arc::new(Inner {
            options: Arc::new(options),
            store,
            topics,
            clock,
            ticks,
            role: Mutex::new(Role::Away),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            groups: AtomicUsize::new(0),
            tokens: AtomicU64::new(0),
            timers: Mutex::new(Timers::default()),
            timer_wake: Notify::new(),
            sweep_wake: Notify::new(),
            commits: Mutex::new(CommitQueue::default()),
            commit_wake: Notify::new(),
            cut_off: watch::Sender::new(false),
        }))
    }

    /// Coordinates whenever `leading` holds a term: the one in which this node leads the metadata
    /// group and has applied everything up to its beginning. Ends, having given the role up, when
    /// the sender is gone.
    pub async fn run(&self, leading: watch::Receiver<Option<Term>>) {
        let inner = &self.0;
        tokio::select! {
            () = inner.follow_role(leading) => {}
            () = inner.run_timer() => {}
            () = inner.run_sweeps() => {}
            () = inner.run_commits() => {}
        }
        inner.resign();
    }

    /// The limits that it was made with.
    #[must_use]
    pub fn options(&self) -> &GroupOptions {
        &self.0.options
    }

    /// The cluster's topics, as the coordinator sees them.
    #[must_use]
    pub fn topics(&self) -> &dyn TopicLookup {
        &*self.0.topics
    }
}

impl Inner {
    fn now(&self) -> Now {
        Now { tick: self.ticks.now(), wall: self.clock.now() }
    }
}

/// Locks; a panic elsewhere must not make every later request panic, too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
