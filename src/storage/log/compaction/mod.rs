//! Compaction: of the records with one key only the newest stays (Kafka's `LogCleaner` and `Cleaner`).
//!
//! ```text
//! [ clean: one record per key ][ dirty          ][ too young, uncommitted, active ]
//!                              └─ key map: key ─► newest offset
//! └──── each segment is read again; what the map knows a newer record of is left out ────┘
//! ```
//! Each replica compacts for itself what it knows to be committed. A batch keeps its place in the log,
//! its header and its offsets even when it has lost all its records: entries stay what Raft agreed on,
//! and a follower that comes late is sent what is left of them.
//!
//! **Invariant:** the newest record of a key is never left out, unless it is a tombstone past its time.
//! **Invariant:** a segment is replaced by one rename, with its first index, base offset, next index and
//! next offset unchanged; at any moment the old or the new one is there as a whole.
//! Deliberately elsewhere: which log is compacted when, and how fast.

mod dirt;
mod items;
mod key_map;
mod mark;
mod pass;
mod rewrite;
mod swap;

use super::Committed;
use crate::model::{Offset, Timestamp};

pub(super) use mark::CleanMark;

/// When a topic's logs are compacted, and what is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionLimits {
    /// Share of dirty bytes above which a log is compacted (`min.cleanable.dirty.ratio`).
    pub dirty_ratio_min: f64,
    /// How long records stay as they are at least, ms (`min.compaction.lag.ms`).
    pub lag_min_ms: u64,
    /// After how long a log is compacted whatever its ratio, ms (`max.compaction.lag.ms`);
    /// `u64::MAX`: never.
    pub lag_max_ms: u64,
    /// How long tombstones stay after they were first compacted, ms (`delete.retention.ms`).
    pub tombstones_ms: u64,
}

/// How much of a log waits to be compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirt {
    /// Bytes of the segments that were compacted.
    pub clean_bytes: u64,
    /// Bytes of those that were not and may be now.
    pub dirty_bytes: u64,
    /// Something has waited for longer than the limit.
    pub is_overdue: bool,
}

impl Dirt {
    /// The dirty share.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }
}

/// One compaction of one log.
pub struct Compaction<'a> {
    /// The topic's limits.
    pub limits: CompactionLimits,
    /// The time.
    pub now: Timestamp,
    /// How far the log is committed here.
    pub committed: Committed,
    /// Most memory for the key map.
    pub map_bytes_max: usize,
    /// Told of bytes that were read or written; waits as long as is due, and says whether to go on.
    pub pace: &'a mut dyn FnMut(u64) -> bool,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Whether it came to its end; else it was told to stop, or the log was closed, purged or emptied.
    pub finished: bool,
    /// Everything below is compacted.
    pub upto: Offset,
    /// Bytes of the segments that were replaced, before and after.
    pub bytes_before: u64,
    /// As `bytes_before`.
    pub bytes_after: u64,
    /// Segments that were replaced.
    pub segments: u64,
    /// Records that were left out.
    pub records_dropped: u64,
}
