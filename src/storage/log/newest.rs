//! The newest record of a log whose batches may say more than their records: compaction takes records and
//! leaves the batches' largest timestamps as they were.
//!
//! ```text
//! how new sealed segments may be ─► the newest of them is looked into ─┬─ as new as was thought: found
//!          ▲                                                          └─ the truth is noted ─┐
//!          └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! **Invariant:** a segment is looked into once, until it is compacted again: its newest record is kept with
//! it, and how new it is takes the place of how new it might be.

use std::sync::{Arc, Mutex};

use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::storage::LogError;
use crate::storage::locks::{lock, read, write};

use super::view::Part;
use super::{Inner, Log};

/// A record that no other is newer than, the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its leader epoch.
    pub epoch: LeaderEpoch,
}

/// The newest record of a sealed segment, once it was looked for.
#[derive(Default)]
pub(in crate::storage) struct KnownNewest(Mutex<Option<NewestRecord>>);

impl Log {
    /// The newest record below `upto`; `find` looks for that of a range of offsets within one segment.
    ///
    /// # Errors
    /// Of `find`; [`LogError::Io`].
    pub fn newest_record<E: From<LogError>>(
        &self,
        upto: Offset,
        find: impl Fn(Offset, Offset) -> Result<Option<NewestRecord>, E>,
    ) -> Result<Option<NewestRecord>, E> {
        let start = self.start_offset();
        let last = self.0.base_of_last(upto);
        if start >= upto {
            return Ok(None);
        }
        // It is not compacted, as a rule, and has the newest.
        let mut best = find(last.max(start), upto)?;
        loop {
            let Some((part, bound)) = self.0.may_be_newest(start, last)? else { return Ok(best) };
            let base = part.segment.head.base_offset;
            if best.is_some_and(|best| (best.timestamp, base) >= (bound, best.offset)) {
                return Ok(best);
            }
            let known = *lock(&part.segment.newest.0);
            let newest = match known.filter(|known| known.offset >= start) {
                Some(known) => Some(known),
                None => find(base.max(start), part.end.next_offset)?,
            };
            *lock(&part.segment.newest.0) = newest;
            if newest.is_some_and(|newest| newest.timestamp >= bound) {
                return Ok(newest);
            }
            let timestamp = newest.map_or(Timestamp::NONE, |newest| newest.timestamp);
            self.0.note_how_new(&part, timestamp);
            let better = newest.filter(|n| best.is_none_or(|b| n.timestamp > b.timestamp));
            best = better.or(best);
        }
    }
}

impl Inner {
    /// Where the segment begins that holds the last record below `upto`.
    fn base_of_last(&self, upto: Offset) -> Offset {
        let view = read(&self.view);
        view.segments[view.segment_of_offset(upto.advance(-1))].head.base_offset
    }

    /// The first of the segments between `start` and the one that begins at `last` that may be newest, and
    /// how new it may be; `None` where none has a timestamp.
    fn may_be_newest(
        &self,
        start: Offset,
        last: Offset,
    ) -> Result<Option<(Part, Timestamp)>, LogError> {
        let view = read(&self.view);
        let (first, end) = (view.segment_of_offset(start), view.segment_of_offset(last));
        match view.times.first_largest(first..end.max(first)) {
            Some((at, bound)) if bound > Timestamp::NONE => Ok(Some((view.part(at)?, bound))),
            _ => Ok(None),
        }
    }

    fn note_how_new(&self, part: &Part, newest: Timestamp) {
        let mut view = write(&self.view);
        let at = view.segment_of_index(part.segment.head.first_index);
        // Another one has its place if it was compacted meanwhile.
        if Arc::ptr_eq(&view.segments[at], &part.segment) {
            view.times.lower(at, newest);
        }
    }
}
