//! What readers see of a log.
//!
//! **Invariant:** a view is changed in one step, after the file is: what it shows is there.

use std::sync::Arc;

use crate::model::{Offset, Timestamp};
use crate::storage::epochs::Epochs;
use crate::storage::locks::read;
use crate::storage::retained::Retained;
use crate::storage::segment::{End, Segment};
use crate::storage::{EntryId, LogError, LogOptions};

use super::Log;
use super::sealed_times::SealedTimes;
use super::segments::Segments;

/// The segments and where the log begins and ends.
pub(super) struct View {
    /// At least one; the last is appended to.
    pub(super) segments: Segments,
    pub(super) times: SealedTimes,
    /// End of the last segment.
    pub(super) end: End,
    pub(super) retained: Option<Retained>,
    /// Records below it are deleted, though their segment may be there: see [`Log::raise_start`].
    pub(super) start: Offset,
    /// Bytes of all segments but the last.
    pub(super) sealed_bytes: u64,
    pub(super) epochs: Epochs,
    /// Term of the last entry, or of the purged one.
    pub(super) last_term: Option<u64>,
    /// Changes with each truncation and reset, so that what was begun before is recognised.
    pub(super) generation: u64,
}

/// A segment and where it ends.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) segment: Arc<Segment>,
    pub(super) end: End,
    pub(super) active: bool,
    /// How new its batches are at most, if it is sealed.
    pub(super) newest: Option<Timestamp>,
}

impl View {
    pub(super) fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("a log has a segment")
    }

    pub(super) fn purged(&self) -> Option<EntryId> {
        self.retained.map(|r| r.purged)
    }

    pub(super) fn start_offset(&self) -> Offset {
        self.base_offset().max(self.start)
    }

    /// The offset of the first record that is held, or would be.
    pub(super) fn base_offset(&self) -> Offset {
        self.retained.map_or(Offset::ZERO, |r| r.start_offset)
    }

    /// Counts the sealed segments' bytes.
    pub(super) fn sealed_bytes_of(segments: &[Arc<Segment>]) -> Result<u64, LogError> {
        let sealed = &segments[..segments.len().saturating_sub(1)];
        sealed.iter().map(|segment| segment.sealed_len()).sum()
    }

    pub(super) fn first_index(&self) -> u64 {
        self.retained.map_or(0, |r| r.purged.index + 1)
    }

    pub(super) fn last(&self) -> Option<EntryId> {
        let index = self.end.next_index.checked_sub(1)?;
        self.last_term.map(|term| EntryId { term, index })
    }

    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        if let Some(purged) = self.purged().filter(|p| index <= p.index) {
            return (index == purged.index).then_some(purged.term);
        }
        if index >= self.end.next_index {
            return None;
        }
        self.epochs.term_of(index)
    }

    pub(super) fn key_ids(&self, first: u64, last: u64) -> Vec<EntryId> {
        let starts = self.epochs.starts().iter().map(|e| e.first_index);
        let inner = starts.filter(|i| *i > first && *i < last);
        let mut indexes: Vec<u64> = std::iter::once(first).chain(inner).chain([last]).collect();
        indexes.dedup();
        let id = |index| self.term_of(index).map(|term| EntryId { term, index });
        indexes.into_iter().filter_map(id).collect()
    }

    /// The segments from the one at `at` on, with their ends.
    pub(super) fn parts_from(&self, at: usize) -> Result<Vec<Part>, LogError> {
        (at..self.segments.len()).map(|i| self.part(i)).collect()
    }

    pub(super) fn part(&self, at: usize) -> Result<Part, LogError> {
        let segment = Arc::clone(&self.segments[at]);
        let Some((next_index, next_offset)) = self.segments.begin(at + 1) else {
            return Ok(Part { segment, end: self.end, active: true, newest: None });
        };
        let end = End { position: segment.sealed_len()?, next_index, next_offset };
        Ok(Part { segment, end, active: false, newest: self.times.of_segment(at) })
    }

    /// Which segment holds the entry at `index`, or would.
    pub(super) fn segment_of_index(&self, index: u64) -> usize {
        self.segments.count_upto_index(index).saturating_sub(1)
    }

    /// Which segment holds the batch that contains `offset`, or would.
    pub(super) fn segment_of_offset(&self, offset: Offset) -> usize {
        // Of several with the same base offset the last has the records.
        self.segments.count_upto_offset(offset).saturating_sub(1)
    }
}

/// A segment as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Index of its first entry.
    pub first_index: u64,
    /// Index of its last entry; `None` when it holds none.
    pub last_index: Option<u64>,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub end_offset: Offset,
    /// Bytes of its entries and head.
    pub bytes: u64,
    /// Largest timestamp of its batches; [`Timestamp::NONE`] without any.
    pub max_timestamp: Timestamp,
    /// Whether it is still appended to.
    pub active: bool,
}

impl Log {
    /// The segments, oldest first. Retention picks those to purge by it; `purge` the last index of
    /// the newest one picked.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, LogError> {
        let parts = self.parts()?;
        parts.iter().map(|part| part.info(&self.0.options)).collect()
    }

    /// Bytes of all entries and heads.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn size_bytes(&self) -> Result<u64, LogError> {
        let view = read(&self.0.view);
        Ok(view.sealed_bytes + view.end.position)
    }

    pub(super) fn parts(&self) -> Result<Vec<Part>, LogError> {
        read(&self.0.view).parts_from(0)
    }
}

impl Part {
    fn info(&self, options: &LogOptions) -> Result<SegmentInfo, LogError> {
        let head = &self.segment.head;
        let last_index = self.end.next_index.checked_sub(1).filter(|l| *l >= head.first_index);
        Ok(SegmentInfo {
            first_index: head.first_index,
            last_index,
            base_offset: head.base_offset,
            end_offset: self.end.next_offset,
            bytes: self.end.position,
            max_timestamp: self.max_timestamp(options)?,
            active: self.active,
        })
    }
}
