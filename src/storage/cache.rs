//! Recent entries in memory, so that replication and apply, which read every entry back, do not
//! touch the disk.
//!
//! **Invariant:** all logs' entries together stay under one byte budget; the oldest append of
//! whichever log goes first.
//! **Invariant:** a log's cached entries are contiguous and end at its last entry.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::{Bytes, BytesMut};

use super::locks::lock;
use super::{EntryBody, EntryId, LogEntry};

/// What an entry costs beside its bytes, roughly.
const OVERHEAD_BYTES: usize = 96;

/// The budget, and the order in which entries leave.
pub(super) struct CacheBudget {
    bytes_max: usize,
    used: AtomicUsize,
    /// One per append: whose, and the last index appended.
    queue: Mutex<VecDeque<(Weak<EntryCache>, u64)>>,
}

/// One log's cached entries.
pub(super) struct EntryCache {
    budget: Arc<CacheBudget>,
    entries: Mutex<VecDeque<Cached>>,
}

/// An entry, stamped or with the stamp beside it: stamping copies, so it waits for the first read.
pub(super) struct Cached {
    pub(super) id: EntryId,
    pub(super) body: CachedBody,
}

pub(super) enum CachedBody {
    Ready(EntryBody),
    /// A produced batch and the 16 bytes that go in place of its own first 16.
    Unstamped([u8; 16], Bytes),
}

impl Cached {
    fn cost(&self) -> usize {
        OVERHEAD_BYTES
            + match &self.body {
                CachedBody::Ready(body) => body.len(),
                CachedBody::Unstamped(_, bytes) => bytes.len(),
            }
    }

    fn entry(&mut self) -> LogEntry {
        if let CachedBody::Unstamped(prefix, bytes) = &self.body {
            let mut stamped = BytesMut::with_capacity(bytes.len());
            stamped.extend_from_slice(prefix);
            stamped.extend_from_slice(&bytes[prefix.len()..]);
            self.body = CachedBody::Ready(EntryBody::Batch(stamped.freeze()));
        }
        match &self.body {
            CachedBody::Ready(body) => LogEntry { id: self.id, body: body.clone() },
            CachedBody::Unstamped(..) => unreachable!("stamped above"),
        }
    }
}

impl CacheBudget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, used: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// Bytes in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn shrink(&self) {
        while self.used.load(Ordering::Relaxed) > self.bytes_max {
            // The queue's lock is released before the log's is taken: no order to get wrong.
            let Some((cache, upto)) = lock(&self.queue).pop_front() else { return };
            if let Some(cache) = cache.upgrade() {
                cache.evict_upto(upto);
            }
        }
    }
}

impl EntryCache {
    pub(super) fn new(budget: Arc<CacheBudget>) -> Arc<Self> {
        Arc::new(Self { budget, entries: Mutex::default() })
    }

    /// Adds entries that were just appended, in order.
    pub(super) fn extend(self: &Arc<Self>, added: Vec<Cached>) {
        let (Some(first), Some(last)) = (added.first(), added.last()) else { return };
        let (first, last) = (first.id.index, last.id.index);
        let cost: usize = added.iter().map(Cached::cost).sum();
        {
            let mut entries = lock(&self.entries);
            debug_assert!(entries.back().is_none_or(|e| e.id.index + 1 == first));
            entries.extend(added);
        }
        self.budget.used.fetch_add(cost, Ordering::Relaxed);
        lock(&self.budget.queue).push_back((Arc::downgrade(self), last));
        self.budget.shrink();
    }

    /// The cached entries from `first` on, below `end`: at least one if `first` is cached, then as
    /// many as fit in `bytes_max`.
    pub(super) fn read(&self, first: u64, end: u64, bytes_max: u64) -> Vec<LogEntry> {
        let mut entries = lock(&self.entries);
        let Some(start) = entries.front().map(|e| e.id.index).filter(|s| *s <= first) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        let mut bytes = 0;
        for cached in entries.iter_mut().skip((first - start) as usize) {
            let size = cached.cost() as u64 - OVERHEAD_BYTES as u64;
            if cached.id.index >= end || (!out.is_empty() && bytes + size > bytes_max) {
                break;
            }
            bytes += size;
            out.push(cached.entry());
        }
        out
    }

    /// The first cached index.
    pub(super) fn first(&self) -> Option<u64> {
        lock(&self.entries).front().map(|e| e.id.index)
    }

    /// Drops entries from `index` on: they are truncated.
    pub(super) fn truncate_from(&self, index: u64) {
        let mut entries = lock(&self.entries);
        while entries.back().is_some_and(|e| e.id.index >= index) {
            self.drop_one(entries.pop_back());
        }
    }

    fn evict_upto(&self, index: u64) {
        let mut entries = lock(&self.entries);
        while entries.front().is_some_and(|e| e.id.index <= index) {
            self.drop_one(entries.pop_front());
        }
    }

    fn drop_one(&self, cached: Option<Cached>) {
        let cost = cached.map_or(0, |c| c.cost());
        self.budget.used.fetch_sub(cost, Ordering::Relaxed);
    }
}

impl Drop for EntryCache {
    fn drop(&mut self) {
        self.evict_upto(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(index: u64, bytes: usize) -> Cached {
        let body = EntryBody::Command(Bytes::from(vec![0; bytes]));
        Cached { id: EntryId::new(1, index), body: CachedBody::Ready(body) }
    }

    #[test]
    fn the_oldest_append_of_any_log_leaves_first() {
        let budget = Arc::new(CacheBudget::new(3 * (1000 + OVERHEAD_BYTES)));
        let (a, b) = (EntryCache::new(Arc::clone(&budget)), EntryCache::new(Arc::clone(&budget)));
        a.extend(vec![cached(0, 1000)]);
        b.extend(vec![cached(0, 1000)]);
        a.extend(vec![cached(1, 1000)]);
        assert_eq!((a.first(), b.first()), (Some(0), Some(0)));
        b.extend(vec![cached(1, 1000)]);
        assert_eq!((a.first(), b.first()), (Some(1), Some(0)));
        drop(b);
        assert_eq!(budget.used(), 1000 + OVERHEAD_BYTES);
        a.truncate_from(0);
        assert_eq!((a.first(), budget.used()), (None, 0));
    }

    #[test]
    fn a_run_stops_at_the_byte_limit_but_holds_one() {
        let budget = Arc::new(CacheBudget::new(1 << 20));
        let a = EntryCache::new(budget);
        a.extend((5..10).map(|i| cached(i, 100)).collect());
        assert_eq!(a.read(6, 100, 250).len(), 2);
        assert_eq!(a.read(6, 100, 1).len(), 1);
        assert_eq!(a.read(6, 8, 10_000).len(), 2);
        assert!(a.read(4, 8, 10_000).is_empty());
        assert!(a.read(10, 12, 10_000).is_empty());
    }

    #[test]
    fn stamps_on_the_first_read() {
        let a = EntryCache::new(Arc::new(CacheBudget::new(1 << 20)));
        let body = CachedBody::Unstamped([7; 16], Bytes::from(vec![1; 20]));
        a.extend(vec![Cached { id: EntryId::new(1, 0), body }]);
        let EntryBody::Batch(bytes) = &a.read(0, 1, 1)[0].body else { panic!() };
        assert_eq!(bytes[..], [&[7_u8; 16][..], &[1; 4]].concat());
    }
}
