//! What the server counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one server. All but `connections` only grow.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections that are open.
    pub connections: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed because of what they sent, or because there were too many.
    pub refused: Counter,
    /// Attempts to accept a connection that failed, for want of descriptors for instance.
    pub accept_errors: Counter,
    /// Requests begun.
    pub requests: Counter,
    /// Bytes of requests read.
    pub bytes_in: Counter,
    /// Bytes of responses written.
    pub bytes_out: Counter,
}

/// A number that many threads count on.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }
}
