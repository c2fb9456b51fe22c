//! Which segments have outlived their time or the log's size.
//!
//! Kafka's `UnifiedLog.deleteOldSegments`: by time, a segment whose largest timestamp is older than
//! the limit (without timestamps: whose file was last written before); by size, the oldest ones as
//! long as the rest still has the limit's size; and those below the start offset.
//!
//! ```text
//! oldest ─► expired? ─► next ─► expired? ─► … ─► the first that stays ends the search
//! ```
//! **Invariant:** works from figures in memory.
//! **Invariant:** no segment is picked that reaches above what is committed.

use crate::model::{Offset, Timestamp};
use crate::storage::LogError;
use crate::storage::locks::{lock, read};

use super::Log;
use super::view::Part;

/// What bounds the age and the size of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// `retention.ms`; `None`: no limit.
    pub ms: Option<u64>,
    /// `retention.bytes`; `None`: no limit.
    pub bytes: Option<u64>,
}

/// How far a log is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The index after the last committed entry.
    pub next_index: u64,
    /// The high watermark.
    pub high_watermark: Offset,
}

/// Where a log is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainFrom {
    /// The first entry to keep.
    pub first_index: u64,
    /// The first offset to serve.
    pub start_offset: Offset,
}

/// What the search has come to.
struct Search {
    limits: RetentionLimits,
    now: Timestamp,
    /// Bytes of what is left.
    bytes: u64,
    /// The first offset of what is left.
    start: Offset,
}

impl Log {
    /// Where the log is to begin by its limits; `None` where it may stay as it is. The active segment
    /// counts if all of it is committed: [`Log::seal_below`] then closes it.
    ///
    /// # Errors
    /// [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn retain_from(
        &self,
        limits: RetentionLimits,
        now: Timestamp,
        committed: Committed,
    ) -> Result<Option<RetainFrom>, LogError> {
        let (bytes, start) = {
            let view = read(&self.0.view);
            (view.sealed_bytes + view.end.position, view.start_offset())
        };
        let mut search = Search { limits, now, bytes, start };
        let (mut found, mut at) = (None, 0);
        while let Some(part) = self.part_at(at)? {
            let end = part.end;
            let whole = end.next_index <= committed.next_index
                && end.next_offset <= committed.high_watermark;
            if !whole || !self.is_expired(&part, &search)? {
                break;
            }
            search.bytes = search.bytes.saturating_sub(end.position);
            search.start = search.start.max(end.next_offset);
            found = Some(RetainFrom { first_index: end.next_index, start_offset: search.start });
            at += 1;
        }
        let first_index = self.first_index();
        Ok(found.filter(|found| found.first_index > first_index))
    }

    /// The first entry to keep where the log is to begin at `start`: that of its segment, or of an
    /// earlier one that is not committed up to its end.
    #[must_use]
    pub fn first_index_for(&self, start: Offset, committed: Committed) -> u64 {
        let view = read(&self.0.view);
        let at = view.segment_of_offset(start);
        let firsts = view.segments[..=at].iter().map(|segment| segment.head.first_index);
        let committed = firsts.rev().find(|first| *first <= committed.next_index);
        committed.unwrap_or(0).max(view.first_index())
    }

    fn part_at(&self, at: usize) -> Result<Option<Part>, LogError> {
        let view = read(&self.0.view);
        (at < view.segments.len()).then(|| view.part(at)).transpose()
    }

    fn is_expired(&self, part: &Part, search: &Search) -> Result<bool, LogError> {
        let Search { limits, now, bytes, start } = search;
        if part.active && part.end.next_offset <= part.segment.head.base_offset.max(*start) {
            // Nothing in it that anybody could ask for: there is no reason to close it.
            return Ok(false);
        }
        if !part.active && part.end.next_offset <= *start {
            return Ok(true);
        }
        if limits.bytes.is_some_and(|most| bytes.saturating_sub(part.end.position) >= most) {
            return Ok(true);
        }
        let Some(ms) = limits.ms else { return Ok(false) };
        let age = now.0.saturating_sub(self.largest_timestamp(part)?.0);
        Ok(u64::try_from(age).is_ok_and(|age| age > ms))
    }

    /// Kafka's `LogSegment.largestTimestamp`.
    pub(super) fn largest_timestamp(&self, part: &Part) -> Result<Timestamp, LogError> {
        let largest = match part.newest {
            Some(newest) => newest,
            None => lock(&self.0.writer).due.max_timestamp,
        };
        if largest >= Timestamp(0) { Ok(largest) } else { part.segment.modified() }
    }
}
