//! Looks batches up by time, for ListOffsets.
//!
//! **Invariant:** a lookup reads headers only, of one index interval per segment and of what lies
//! behind the last index entry.

use std::sync::Arc;

use crate::model::{Offset, Timestamp};
use crate::storage::frame::Item;
use crate::storage::locks::read;
use crate::storage::{FileSlice, LogError, LogOptions};

use super::Log;
use super::fetch::BatchPosition;
use super::view::Part;

impl Log {
    /// The first retained batch with records from the one that contains `from` up to those that begin
    /// below `upto`, whose largest timestamp is at least `timestamp`, and its bytes. Unless the batch is
    /// compacted, the record looked for is in it.
    ///
    /// # Errors
    /// [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<(BatchPosition, FileSlice)>, LogError> {
        let start = from.max(self.start_offset());
        let mut next = self.0.first_part_reaching(timestamp, start, upto)?;
        while let Some(part) = next {
            if part.newest.is_none_or(|newest| newest >= timestamp)
                && let Some(found) = self.find_batch(&part, timestamp, start, upto)?
            {
                return Ok(Some(found));
            }
            next = self.0.part_after(&part, upto)?;
        }
        Ok(None)
    }

    /// The first retained batch from `from` to `upto` that carries the largest timestamp of them, and its
    /// bytes; `None` too where compaction has left no record of that batch.
    ///
    /// # Errors
    /// [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn max_timestamp(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<(BatchPosition, FileSlice)>, LogError> {
        let start = from.max(self.start_offset());
        let Some((edges, mut largest)) = self.parts_between(start, upto)? else { return Ok(None) };
        for part in edges {
            largest = largest.max(part.max_timestamp_between(&self.0.options, start, upto)?);
        }
        self.offset_for_timestamp(largest, start, upto)
    }

    /// The first and the last part of `from..upto`, and how new the batches of those between may be; `None`
    /// if there is nothing.
    fn parts_between(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<(Vec<Part>, Timestamp)>, LogError> {
        let view = read(&self.0.view);
        let upto = upto.min(view.end.next_offset);
        if from >= upto {
            return Ok(None);
        }
        let first = view.segment_of_offset(from);
        let last = view.segment_of_offset(upto.advance(-1));
        let edges = (first..=last).step_by((last - first).max(1));
        let edges: Result<Vec<Part>, LogError> = edges.map(|at| view.part(at)).collect();
        Ok(Some((edges?, view.times.largest((first + 1).min(last)..last))))
    }

    fn find_batch(
        &self,
        part: &Part,
        timestamp: Timestamp,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<(BatchPosition, FileSlice)>, LogError> {
        let (mut walker, _) = part.segment.walk_from(&part.end, &self.0.options, |index| {
            let by_time = index.floor_timestamp(timestamp)?;
            // What was purged may be newer than what is retained.
            let by_offset = index.floor_offset(from)?;
            Ok(by_time.into_iter().chain(by_offset).max_by_key(|e| e.position))
        })?;
        while let Some(located) = part.next(&mut walker)? {
            let Item::Batch(header) = located.item else { continue };
            if header.base_offset >= upto {
                return Ok(None);
            }
            let holds = header.record_count > 0 && header.next_offset() > from;
            if holds && header.max_timestamp >= timestamp {
                let segment = Arc::clone(&part.segment);
                let (size, watch) = (header.size_bytes(), self.0.watch.get().cloned());
                let slice = FileSlice::new(segment, located.position, size, watch);
                return Ok(Some((BatchPosition { header, index: located.index }, slice)));
            }
        }
        Ok(None)
    }
}

impl Part {
    /// The largest timestamp of the part's batches.
    pub(super) fn max_timestamp(&self, options: &LogOptions) -> Result<Timestamp, LogError> {
        self.max_timestamp_between(options, Offset(i64::MIN), Offset(i64::MAX))
    }

    /// The largest timestamp of the batches between `from` and `upto`.
    fn max_timestamp_between(
        &self,
        options: &LogOptions,
        from: Offset,
        upto: Offset,
    ) -> Result<Timestamp, LogError> {
        let whole = from <= self.segment.head.base_offset;
        let (mut walker, _) = self.segment.walk_from(&self.end, options, |index| {
            // The entries count from the segment's beginning: of no use where that was purged.
            index.floor_offset(if whole { upto } else { from })
        })?;
        let index = self.segment.index();
        let entry = index.floor_position(walker.position);
        let entry = entry.map_err(LogError::io("map", index.path()))?;
        let mut largest = entry.filter(|_| whole).map_or(Timestamp::NONE, |e| e.max_timestamp);
        while let Some(located) = self.next(&mut walker)? {
            let Item::Batch(header) = located.item else { continue };
            if header.base_offset >= upto {
                break;
            }
            if header.next_offset() > from {
                largest = largest.max(header.max_timestamp);
            }
        }
        Ok(largest)
    }
}
