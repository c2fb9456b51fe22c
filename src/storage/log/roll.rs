//! When the active segment is closed: by size, by the age of what is in it, or because what follows is
//! to outlive it.
//!
//! Age is Kafka's `LogSegment.shouldRoll`: the time between the largest timestamps of the segment's
//! first batch and of the batch to append, or where the first one has no timestamp, the time for
//! which the segment has been appended to.
//!
//! **Invariant:** where batches have timestamps, all replicas of a log roll before the same entry.
//! **Invariant:** nothing is synced here, where producers wait: the next sync of the log puts the closed
//! segment and the new one on the disk, in that order ([`super::seal`]).

use std::sync::Arc;

use crate::model::Timestamp;
use crate::storage::ballast::Need;
use crate::storage::frame::Item;
use crate::storage::locks::{lock, read, write};
use crate::storage::retained::Retained;
use crate::storage::segment::{IndexDue, Segment};
use crate::storage::segment_head::SegmentHead;
use crate::storage::{LogError, RollLimits};

use super::append::Writer;
use super::output::Output;
use super::view::Part;
use super::{Inner, Log, Watched};

/// Decides by time whether an entry still goes into the active segment.
pub(super) struct SegmentAge {
    first: Timestamp,
    age_max_ms: Option<i64>,
    /// How long the segment has been the active one.
    active_ms: i64,
}

impl Log {
    /// Takes over when segments are closed, for those that are not closed yet.
    pub fn set_roll_limits(&self, limits: RollLimits) {
        *write(&self.0.roll) = limits;
    }

    /// Closes the active segment if it holds an entry below `first_index`, so that it can be purged
    /// with those entries.
    ///
    /// # Errors
    /// As [`Log::append`]; the log goes on as it was after [`LogError::Full`].
    pub fn seal_below(&self, first_index: u64) -> Result<(), LogError> {
        let inner = &*self.0;
        let mut writer = lock(&inner.writer);
        inner.check_usable()?;
        let (begin, end) = {
            let view = read(&inner.view);
            (view.active().head.first_index, view.end.next_index)
        };
        if begin >= first_index || begin >= end {
            return Ok(());
        }
        inner.storage.space.with_ballast(Need::Free, || inner.roll(&mut writer))
    }
}

impl Writer {
    /// The next entries go to the beginning of `segment`.
    pub(super) fn begin_segment(&mut self, segment: &Segment, allocated: u64, now: Timestamp) {
        self.set_allocated(allocated.max(segment.head_bytes));
        self.output = Output::default();
        self.due = IndexDue::after(None, segment.head_bytes);
        (self.first_timestamp, self.since) = (Some(Timestamp::NONE), now);
    }

    /// Notes an appended item: the first batch's timestamp is the segment's first.
    pub(super) fn note_first(&mut self, item: &Item) {
        if let (Item::Batch(header), Some(first)) = (item, &mut self.first_timestamp)
            && *first == Timestamp::NONE
        {
            *first = header.max_timestamp;
        }
    }
}

impl Inner {
    /// Closes the active segment and begins the next.
    pub(super) fn roll(&self, writer: &mut Writer) -> Result<(), LogError> {
        let (old, end, term_before, epochs) = {
            let view = read(&self.view);
            (Arc::clone(view.active()), view.end, view.last_term, view.epochs.clone())
        };
        let disk = &Watched(self);
        // From the second segment on there is something to purge, which a full disk must not prevent.
        let refused = |error| self.refused_or_failed("create a segment in", error);
        if Retained::reserve(&self.dir, disk).map_err(refused)? {
            lock(&self.sync).unsettled = true;
        }
        let newest = writer.due.max_timestamp;
        let head = SegmentHead {
            base_offset: end.next_offset,
            first_index: end.next_index,
            term_before,
            previous_first_index: Some(old.head.first_index),
            previous_max_timestamp: newest,
            identity: self.identity.clone(),
            epochs,
        };
        let name_taken = old.head.base_offset == head.base_offset;
        let prepared = self.take_next();
        let allocated = prepared.as_ref().map_or(0, |prepared| prepared.allocated);
        let open_files = &self.storage.open_files;
        let segment =
            Segment::create(&self.dir, name_taken, head, disk, open_files, true, prepared)
                .map_err(refused)?;
        // The cut that is owed: its file stays open until then, whatever becomes of its name.
        old.note_write();
        old.set_sealed_len(Some(end.position));
        writer.begin_segment(&segment, allocated, self.storage.clock.now());
        let mut view = write(&self.view);
        view.sealed_bytes += end.position;
        view.end.position = segment.head_bytes;
        view.segments.push(Arc::new(segment));
        view.times.push(newest);
        Ok(())
    }

    /// The age of the active segment, as far as the limits ask for it.
    pub(super) fn segment_age(&self, writer: &mut Writer) -> Result<SegmentAge, LogError> {
        let limits = *read(&self.roll);
        if limits.ms == u64::MAX {
            return Ok(SegmentAge { first: Timestamp::NONE, age_max_ms: None, active_ms: 0 });
        }
        let first = match writer.first_timestamp {
            Some(first) => first,
            None => self.find_first_timestamp()?,
        };
        writer.first_timestamp = Some(first);
        let first_index = read(&self.view).active().head.first_index;
        let ms = limits.ms.saturating_sub(self.jitter(&limits, first_index));
        Ok(SegmentAge {
            first,
            age_max_ms: Some(i64::try_from(ms).unwrap_or(i64::MAX)),
            active_ms: self.storage.clock.now().0 - writer.since.0,
        })
    }

    /// The same on every replica: drawn from what names the segment.
    fn jitter(&self, limits: &RollLimits, first_index: u64) -> u64 {
        let most = limits.jitter_ms.min(limits.ms);
        if most == 0 {
            return 0;
        }
        let mut name = self.identity.topic_id.to_bytes().to_vec();
        name.extend(self.identity.partition.0.to_be_bytes());
        name.extend(first_index.to_be_bytes());
        u64::from(crc32c::crc32c(&name)) % most
    }

    /// Reads the active segment up to its first batch.
    fn find_first_timestamp(&self) -> Result<Timestamp, LogError> {
        let part = {
            let view = read(&self.view);
            view.part(view.segments.len() - 1)?
        };
        part.first_timestamp()
    }
}

impl Part {
    /// The largest timestamp of the part's first batch; [`Timestamp::NONE`] without one.
    pub(super) fn first_timestamp(&self) -> Result<Timestamp, LogError> {
        let mut walker = self.segment.walker_at(None, &self.end)?;
        while let Some(located) = self.next(&mut walker)? {
            if let Item::Batch(header) = located.item {
                return Ok(header.max_timestamp);
            }
        }
        Ok(Timestamp::NONE)
    }
}

impl SegmentAge {
    /// Whether `item` goes into the segment; the first batch of a segment counts for those after it.
    pub(super) fn admits(&mut self, item: &Item) -> bool {
        let (Item::Batch(header), Some(age_max_ms)) = (item, self.age_max_ms) else { return true };
        if self.first == Timestamp::NONE {
            self.first = header.max_timestamp;
            return self.active_ms <= age_max_ms || self.first != Timestamp::NONE;
        }
        header.max_timestamp.0.saturating_sub(self.first.0) <= age_max_ms
    }
}
