//! Takes room for the active segment ahead of its appends, so that none of them waits for the file system.
//!
//! ```text
//! half of the last step is used ─► asked for, once ─► blocks taken, and mapped for a relaxed log
//!   ─► the append that needs it finds it; or, if it comes too early, does it itself
//! a relaxed log's end comes near to pages that are not in memory ─► they are read: zeros
//! ```
//! The writer holds one end of a slot and the background work the other: who rolls, truncates or cuts lets
//! go of it, and what comes later is nobody's.
//!
//! **Invariant:** only the active segment grows: a closed one is cut once, and stays so.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use crate::storage::LogError;
use crate::storage::file_map::{self, FileMap, PAGE_BYTES};
use crate::storage::locks::{lock, read};
use crate::storage::segment::Segment;

use super::Inner;
use super::append::Writer;
use super::output::Output;

/// How much larger than those of others a relaxed log's steps of preallocation are.
const RELAXED_STEPS: u64 = 8;

/// The active segment's file is as long as this.
pub(super) struct Room {
    pub(super) upto: u64,
    pub(super) map: Option<FileMap>,
}

/// Where the room that was asked for comes to.
pub(super) type Slot = Arc<Mutex<Option<Room>>>;

impl Writer {
    /// The active segment's file is as long as this now; what was asked for does not fit it.
    pub(super) fn set_allocated(&mut self, position: u64) {
        (self.allocated, self.growing) = (position, None);
    }
}

impl Inner {
    /// How long the active segment's file is to be after the next step.
    pub(super) fn next_length(&self, allocated: u64, step: u64) -> u64 {
        let mut next = allocated + step;
        if next >= PAGE_BYTES {
            next = next.next_multiple_of(PAGE_BYTES);
        }
        next.min(read(&self.roll).bytes)
    }

    /// By how much the active segment's file is to grow, roughly.
    pub(super) fn step(&self, allocated: u64) -> u64 {
        let (least, most) =
            (self.options.preallocate_min_bytes, self.options.preallocate_max_bytes);
        // Pages of a file that was just made longer are dearer to store into (measured on ext4).
        let growth = if self.flush.is_relaxed() { RELAXED_STEPS } else { 1 };
        // What one log has set aside is lost to the others.
        let most = if self.storage.space.has_room() { most * growth } else { least };
        (allocated * growth).clamp(least, most.max(least))
    }

    /// Asks for the next step if the last one is half used. The smallest are not worth it: thousands of
    /// logs that hardly grow would take twice what they need.
    pub(super) fn grow_ahead(self: &Arc<Self>, writer: &mut Writer, end: u64) {
        if writer.growing.is_some() || matches!(writer.output, Output::FileOnly) {
            return;
        }
        let (allocated, step) = (writer.allocated, self.step(writer.allocated));
        if step <= self.options.preallocate_min_bytes || allocated - end >= step / 2 {
            return;
        }
        let upto = self.next_length(allocated, step);
        if upto <= allocated {
            return;
        }
        let slot = Slot::default();
        writer.growing = Some(Arc::clone(&slot));
        let (log, segment) = (Arc::downgrade(self), Arc::clone(read(&self.view).active()));
        let asked = self.storage.background.run(move || {
            if let Some(log) = log.upgrade()
                && Arc::strong_count(&slot) > 1
            {
                log.fill(&slot, &segment, allocated, upto);
            }
        });
        if let Err(error) = asked {
            tracing::warn!(%error, "no room is taken ahead");
        }
    }

    /// Has the next pages of a relaxed log filled: that is half of what a store into them costs.
    pub(super) fn fill_ahead(&self, writer: &mut Writer, end: u64) {
        let Output::Map(map) = &mut writer.output else { return };
        let Some(pages) = map.take_unfilled(end) else { return };
        let segment = Arc::clone(read(&self.view).active());
        let asked = self.storage.background.run(move || {
            if let Ok(file) = segment.file()
                && let Err(error) = file_map::fill(&file, pages)
            {
                tracing::debug!(%error, path = %segment.path.display(), "no pages are filled ahead");
            }
        });
        if let Err(error) = asked {
            tracing::debug!(%error, "no pages are filled ahead");
        }
    }

    fn fill(&self, slot: &Slot, segment: &Arc<Segment>, from: u64, upto: u64) {
        match self.make_room(segment, from, upto) {
            Ok(room) => *lock(slot) = room,
            Err(error) => {
                tracing::debug!(%error, path = %segment.path.display(), "no room is taken ahead");
            }
        }
    }

    fn make_room(
        &self,
        segment: &Arc<Segment>,
        from: u64,
        upto: u64,
    ) -> Result<Option<Room>, LogError> {
        let _cutting = lock(&self.cutting);
        let end = {
            let view = read(&self.view);
            if !Arc::ptr_eq(view.active(), segment) || self.ahead.is_closed() {
                return Ok(None);
            }
            view.end.position
        };
        // It comes too late: appends have taken the room for themselves, and filled it.
        if end >= upto {
            return Ok(None);
        }
        self.check_usable()?;
        let file = segment.file()?;
        let made = LogError::io("extend", &segment.path);
        let room = self.take_room(&file, from.max(end), upto, end).map_err(made)?;
        self.storage.space.look();
        Ok(Some(room))
    }

    fn take_room(&self, file: &File, from: u64, upto: u64, end: u64) -> io::Result<Room> {
        let map = if self.flush.is_relaxed() {
            Some(self.map_room(file, end, upto)?)
        } else {
            self.storage.disk.allocate(file, from, upto - from)?;
            None
        };
        Ok(Room { upto, map })
    }

    /// Maps what is or is made room between the log's end and `upto`.
    pub(super) fn map_room(&self, file: &File, end: u64, upto: u64) -> io::Result<FileMap> {
        // Another process may have left a file with holes; where there are none, this does nothing.
        self.storage.disk.allocate(file, end, upto - end)?;
        FileMap::of(file, end, upto)
    }

    /// The room that was asked for, if it came and reaches `need`.
    pub(super) fn take_grown(&self, writer: &mut Writer, need: u64) -> bool {
        let room = writer.growing.take().and_then(|slot| lock(&slot).take());
        let Some(room) = room.filter(|room| room.upto >= need) else { return false };
        writer.allocated = room.upto;
        if let Some(map) = room.map {
            self.replace_map(writer, map);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PartitionIndex, TopicId};
    use crate::storage::{EntryBody, FlushPolicy, Log, LogEntry, LogIdentity, LogOptions, Storage};

    #[test]
    fn room_behind_the_end_is_made_and_any_other_comes_too_late() {
        for flush in [FlushPolicy::Durable, FlushPolicy::Relaxed { messages: 1_000, ms: 60_000 }] {
            let dir = tempfile::tempdir().unwrap();
            let identity = LogIdentity {
                cluster_id: "test".into(),
                topic_id: TopicId(1),
                partition: PartitionIndex(0),
            };
            let options = LogOptions { flush, ..LogOptions::default() };
            let (log, _) =
                Log::open(dir.path(), &identity, options, &Storage::default(), None).unwrap();
            for index in 0..100 {
                log.append(&[LogEntry::new(1, index, EntryBody::Blank)]).unwrap();
            }
            let (segment, end) = {
                let view = read(&log.0.view);
                (Arc::clone(view.active()), view.end.position)
            };
            for upto in [end / 2, end] {
                assert!(log.0.make_room(&segment, 0, upto).unwrap().is_none());
            }
            let room = log.0.make_room(&segment, 0, end + (1 << 20)).unwrap();
            assert_eq!(room.unwrap().upto, end + (1 << 20));
        }
    }
}
