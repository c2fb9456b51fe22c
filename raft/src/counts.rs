//! What a node counts of its groups since its start: elections and hand-overs.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters, shared by the groups of a node.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    stood: AtomicU64,
    won: AtomicU64,
    handed_over: AtomicU64,
    not_handed_over: AtomicU64,
}

/// A node's groups, and what came of elections, hand-overs and replication since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Groups open here.
    pub groups: usize,
    /// Those that this node leads.
    pub led: usize,
    /// Elections that this node stood for by itself.
    pub elections_stood: u64,
    /// Elections that it won, those included that a leader asked it to stand for.
    pub elections_won: u64,
    /// Leaderships that it handed to the node it meant.
    pub transfers_made: u64,
    /// Leaderships that it meant to hand over, and that node did not get.
    pub transfers_failed: u64,
    /// Old entries sent to replicas that were away.
    pub catch_up_bytes: u64,
}

impl Counts {
    pub(crate) fn stood(&self) {
        self.stood.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn won(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn transferred(&self, is_made: bool) {
        let counter = if is_made { &self.handed_over } else { &self.not_handed_over };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, groups: usize, led: usize, catch_up_bytes: u64) -> NodeCounts {
        NodeCounts {
            groups,
            led,
            elections_stood: self.stood.load(Ordering::Relaxed),
            elections_won: self.won.load(Ordering::Relaxed),
            transfers_made: self.handed_over.load(Ordering::Relaxed),
            transfers_failed: self.not_handed_over.load(Ordering::Relaxed),
            catch_up_bytes,
        }
    }
}
