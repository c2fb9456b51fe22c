//! When an appended entry counts, and when relaxed logs are put on the disk.
//!
//! A durable log's entries count once a sync covers them. A relaxed log's batches count as soon as they
//! are written, and Raft's own entries (a leader's first, memberships, commands) as in a durable log; a
//! sync is asked for in the background
//!
//! * after [`FlushPolicy::Relaxed`]'s `messages` records,
//! * `ms` after the first append that no sync covers,
//! * after 32 MiB, and after a roll, so that never much more has to be looked at after a crash.
//!
//! However the log counts, an append that would bring what no sync covers beyond 60 MiB waits for the disk:
//! where a sync takes long, a start would have to look at everything that came meanwhile.
//!
//! A process that ends loses nothing by this: what is written is in the page cache. A machine that stops
//! loses what no sync covered.
//!
//! **Invariant:** an answer stands for all earlier ones: nothing counts as long as something before it is
//! to be on the disk and is not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::storage::frame::{FrameKind, Item};
use crate::storage::locks::{lock, read, write};
use crate::storage::{FlushPolicy, LogError, SyncDone};

use super::{Inner, Log};

/// Bytes that no sync covers before one is asked for, whatever the policy: all of them are read, and written
/// again, after a stop that was not clean.
const UNSYNCED_BYTES_DUE: u64 = 32 << 20;

/// Bytes that no sync covers beyond which none are appended. With what lies between the recovery point and the
/// last sync, and what is checked before it (1 MiB each), a start looks at 64 MiB at most.
pub(in crate::storage) const UNSYNCED_BYTES_MAX: u64 = 60 << 20;

/// A log's policy, and what it has led to.
pub(super) struct Flush {
    policy: RwLock<FlushPolicy>,
    /// Entries below this index count once they are on the disk.
    durable_below: AtomicU64,
    /// A sync was asked for in the background and has not ended.
    asked: AtomicBool,
    /// One will be when its time has come.
    timed: AtomicBool,
    /// Bytes appended since the log was opened, and how many of them are on the disk at least.
    appended_bytes: AtomicU64,
    synced_bytes: AtomicU64,
}

impl Flush {
    /// For a log that ends at `next_index`.
    pub(super) fn new(policy: FlushPolicy, next_index: u64) -> Self {
        Self {
            policy: RwLock::new(policy),
            durable_below: AtomicU64::new(next_index),
            asked: AtomicBool::new(false),
            timed: AtomicBool::new(false),
            appended_bytes: AtomicU64::new(0),
            synced_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn is_relaxed(&self) -> bool {
        *read(&self.policy) != FlushPolicy::Durable
    }

    /// Notes an appended item.
    pub(super) fn note(&self, item: &Item, index: u64) {
        if let Item::Frame(frame) = item
            && frame.kind != FrameKind::Void
        {
            self.durable_below.store(index + 1, Ordering::Release);
        }
    }

    /// The log ends at `next_index` now, all of it on the disk.
    pub(super) fn cut(&self, next_index: u64) {
        self.durable_below.fetch_min(next_index, Ordering::AcqRel);
        self.note_synced(self.appended_bytes());
    }

    /// So many bytes more can be read.
    pub(super) fn note_appended(&self, bytes: u64) {
        self.appended_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// What a sync that begins now covers, if this is asked before where the log ends.
    pub(super) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Acquire)
    }

    /// A sync covers so many of the appended bytes.
    pub(super) fn note_synced(&self, appended_bytes: u64) {
        self.synced_bytes.fetch_max(appended_bytes, Ordering::AcqRel);
    }

    fn unsynced_bytes(&self) -> u64 {
        self.appended_bytes().saturating_sub(self.synced_bytes.load(Ordering::Acquire))
    }
}

impl Log {
    /// Takes over when appended entries count; those that are there already count as they did.
    pub fn set_flush_policy(&self, policy: FlushPolicy) {
        let inner = &self.0;
        if *read(&inner.flush.policy) == policy {
            return;
        }
        let writer = lock(&inner.writer);
        let old = std::mem::replace(&mut *write(&inner.flush.policy), policy);
        if old == FlushPolicy::Durable {
            let next_index = read(&inner.view).end.next_index;
            inner.flush.durable_below.store(next_index, Ordering::Release);
        }
        let closed = writer.closed;
        drop(writer);
        if !closed {
            // A time that runs may be longer than the new one.
            inner.ask_for_sync();
        }
    }

    /// Whether batches count before they are on the disk.
    #[must_use]
    pub fn is_relaxed(&self) -> bool {
        self.0.flush.is_relaxed()
    }

    /// Calls `done` once everything that was appended before this call counts: at once, in this thread,
    /// or as [`Log::sync`] does.
    pub fn confirm(&self, done: SyncDone) {
        let flush = &self.0.flush;
        let below = flush.durable_below.load(Ordering::Acquire);
        if flush.is_relaxed() && self.durable_end().next_index >= below {
            done(Ok(()));
        } else {
            self.sync(done);
        }
    }

    /// Whether an append of so many bytes waits for the disk.
    #[must_use]
    pub fn has_to_sync(&self, bytes: u64) -> bool {
        let unsynced = self.0.flush.unsynced_bytes();
        unsynced > 0 && unsynced + bytes > UNSYNCED_BYTES_MAX
    }

    /// Waits until the sync that runs has ended, if an append of so many bytes has to wait for the disk, and
    /// syncs if it still has to.
    ///
    /// # Errors
    /// As [`Log::sync_blocking`].
    pub fn make_way(&self, bytes: u64) -> Result<(), LogError> {
        // The sync that runs mostly makes room enough, and the next one runs beside what is appended then.
        match self.has_to_sync(bytes) {
            true => self.0.sync_if(|| self.has_to_sync(bytes)),
            false => Ok(()),
        }
    }

    /// Records that are not known to be on the disk.
    #[must_use]
    pub fn unsynced_records(&self) -> u64 {
        let durable = self.durable_end().next_offset;
        let end = self.end_offset();
        u64::try_from(end.0 - durable.0).unwrap_or(0)
    }
}

#[cfg(test)]
impl Log {
    /// Waits until nothing that was asked for in the background is under way.
    pub(crate) fn quiesce(&self) {
        let is_busy = || self.0.flush.asked.load(Ordering::Acquire) || self.0.ticket.is_busy();
        while is_busy() || !self.0.has_kept_applied() {
            std::thread::yield_now();
        }
    }
}

impl Inner {
    /// Asks for a sync of a relaxed log if it is time, or for the time to be watched.
    pub(super) fn flush_if_due(self: &Arc<Self>) {
        let policy = *read(&self.flush.policy);
        let FlushPolicy::Relaxed { messages, ms } = policy else { return };
        let (end, active) = {
            let view = read(&self.view);
            (view.end, view.active().head.first_index)
        };
        let (durable, is_sealed, synced) = {
            let sync = lock(&self.sync);
            let point = sync.point.map(|(point, _)| point).filter(|p| p.segment == active);
            (sync.durable, sync.sealed_before == active, point.map_or(0, |point| point.position))
        };
        if durable.next_index >= end.next_index && is_sealed {
            return;
        }
        let records = u64::try_from(end.next_offset.0 - durable.next_offset.0).unwrap_or(0);
        let bytes = end.position.saturating_sub(synced);
        if records >= messages || bytes >= UNSYNCED_BYTES_DUE || !is_sealed {
            self.ask_for_sync();
        } else if ms != u64::MAX && !self.flush.timed.swap(true, Ordering::AcqRel) {
            self.watch_time(Duration::from_millis(ms));
        }
    }

    fn watch_time(self: &Arc<Self>, time: Duration) {
        let log = Arc::downgrade(self);
        let watched = self.storage.background.run_after(time, move || {
            if let Some(log) = log.upgrade() {
                log.flush.timed.store(false, Ordering::Release);
                log.ask_for_sync();
            }
        });
        if let Err(error) = watched {
            tracing::warn!(%error, "nobody watches the time of a flush: it is done now");
            self.flush.timed.store(false, Ordering::Release);
            self.ask_for_sync();
        }
    }

    /// At most one at a time; what is appended while it runs is looked at when it has ended.
    fn ask_for_sync(self: &Arc<Self>) {
        if self.flush.asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = Arc::downgrade(self);
        let target: Arc<Self> = Arc::clone(self);
        let done = move |result: std::io::Result<()>| {
            let Some(log) = log.upgrade() else { return };
            log.flush.asked.store(false, Ordering::Release);
            if result.is_ok() {
                log.flush_if_due();
            }
        };
        self.storage.syncer.ask(target, Box::new(done));
    }
}
