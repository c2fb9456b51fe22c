//! Takes entries off the end, for a follower whose leader has others.
//!
//! Order, so that a crash at any point leaves a log that is a prefix of the old one and at least what
//! is kept, and no stale byte can be read later:
//! ```text
//! closed segments sealed ─► view (readers) ─► checkpoint lowered, synced ─► later segments deleted, newest first, each synced
//!   ─► index entries wiped, synced ─► file cut, synced
//! ```
//! **Invariant:** what it cuts is above the high watermark, so no reader holds a slice of it.

use std::sync::Arc;

use crate::model::mutant;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::locks::{lock, read, write};
use crate::storage::segment::{End, IndexDue, Segment};
use crate::storage::walker::Step;
use crate::storage::{Disk as _, LogError};

use super::append::Writer;
use super::output::Output;
use super::sync::DurableEnd;
use super::view::{Part, View};
use super::{HalfWay, Inner, Log, Watched};

impl Log {
    /// Removes every entry after `last`, or all when `None`. On disk on return. Removes nothing where
    /// the log ends at `last` or before.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `last` lies before what was purged; [`LogError::Failed`];
    /// [`LogError::Io`].
    pub fn truncate_after(&self, last: Option<u64>) -> Result<(), LogError> {
        let mut writer = lock(&self.0.writer);
        self.0.check_usable()?;
        self.0.truncate_to(&mut writer, last.map_or(0, |l| l + 1))
    }
}

impl Inner {
    /// Makes `next_index` the next one to be appended.
    pub(super) fn truncate_to(&self, writer: &mut Writer, next_index: u64) -> Result<(), LogError> {
        let Some((at, part)) = self.part_to_cut(next_index)? else { return Ok(()) };
        self.seal_closed()?;
        let (end, due) = self.find_end(&part, next_index)?;
        let segment = part.segment;
        // Held from here on: once begun, this does not fail for want of a descriptor, and who needs one
        // waits.
        let file = segment.file()?;
        let dropped = {
            let mut view = write(&self.view);
            view.generation += 1;
            let dropped = view.segments.split_off(at + 1);
            view.times.truncate(at + 1);
            view.sealed_bytes = View::sealed_bytes_of(&view.segments)?;
            view.end = end;
            view.epochs.truncate_from(next_index);
            let before = next_index.checked_sub(1);
            view.last_term = before.and_then(|index| view.term_of(index));
            dropped
        };
        self.stop_cutting();
        writer.output = Output::default();
        if !mutant::is_on("cache-not-truncated") {
            self.cache.truncate_from(next_index);
        }
        segment.slice_ends.forget_behind(end.position);
        let half_way = &HalfWay(Watched(self));
        self.lower_checkpoint(&segment, &end, half_way)?;
        for later in dropped.iter().rev() {
            later.delete(&Watched(self)).map_err(|e| self.failed("delete", e))?;
            // Names reach the disk in any order: without this the next one down could be gone alone.
            half_way.sync_dir(&self.dir).map_err(|error| self.fail("sync", &self.dir, error))?;
        }
        let index = segment.index();
        half_way
            .insist(|| index.truncate_from(end.position, Some(&Watched(self))))
            .map_err(|error| self.fail("sync", index.path(), error))?;
        let disk = &*self.storage.disk;
        disk.set_len(&file, end.position)
            .map_err(|error| self.fail("cut", &segment.path, error))?;
        disk.sync_data(&file).map_err(|error| self.fail("sync", &segment.path, error))?;
        // A new log's own name is not on the disk before its first sync, which this may be.
        self.insist(|| self.settle())?;
        segment.set_sealed_len(None);
        segment.set_frames(due.frames);
        writer.set_allocated(end.position);
        (writer.due, writer.first_timestamp) = (due, None);
        self.note_durable(&end);
        Ok(())
    }

    /// The segment in which the log is to end, and its place; `None` when there is nothing to cut.
    fn part_to_cut(&self, next_index: u64) -> Result<Option<(usize, Part)>, LogError> {
        let view = read(&self.view);
        if next_index >= view.end.next_index {
            return Ok(None);
        }
        let first = view.first_index();
        if next_index < first {
            let (index, last) = (next_index, view.end.next_index - 1);
            return Err(LogError::OutOfRange { index, first, last });
        }
        let at = view.segment_of_index(next_index);
        Ok(Some((at, view.part(at)?)))
    }

    /// Where the entry at `next_index` begins, and what the index counts up to there.
    fn find_end(&self, part: &Part, next_index: u64) -> Result<(End, IndexDue), LogError> {
        let segment = &part.segment;
        let (walker, _) =
            segment.walk_from(&part.end, &self.options, |i| i.floor_index(next_index))?;
        drop(walker);
        let index = segment.index();
        let entry = index.floor_index(next_index).map_err(LogError::io("map", index.path()))?;
        let mut walker = segment.walker_at(entry.as_ref(), &part.end)?;
        let mut due = IndexDue::after(entry.as_ref(), segment.head_bytes);
        while walker.cursor.next_index < next_index {
            match walker.step().map_err(LogError::io("read", &segment.path))? {
                Step::Item(located) => {
                    due.note(&located, segment.index(), self.options.index_interval_bytes);
                }
                Step::End => return Err(segment.corrupt(walker.position, "ends too early")),
                Step::Bad(what) => return Err(segment.corrupt(walker.position, what)),
            }
        }
        let next_offset = walker.cursor.next_offset;
        Ok((End { position: walker.position, next_index, next_offset }, due))
    }

    /// After the generation has changed, so that a sync that runs cannot raise it again.
    fn lower_checkpoint(
        &self,
        segment: &Arc<Segment>,
        end: &End,
        disk: &HalfWay<'_>,
    ) -> Result<(), LogError> {
        let mut file = lock(&self.checkpoint);
        if !file.may_say_more_than(end.next_index) {
            return Ok(());
        }
        let stored = disk.insist(|| file.read());
        let Some(stored) =
            stored.map_err(|error| self.fail("read the checkpoint in", &self.dir, error))?
        else {
            return Ok(());
        };
        let point = Checkpoint {
            segment: segment.head.first_index,
            // What is durable of this segment: the stored point may lie in a later one, before which
            // all of this one was; or in this one, behind the cut.
            position: end.position,
            next_index: end.next_index,
            next_offset: end.next_offset,
            clean: false,
        };
        // One that says less stays as it is: behind it nothing need be durable.
        let point = if stored.next_index <= end.next_index { stored } else { point };
        file.write_durably(&Checkpoint { clean: false, ..point }, disk)
            .map_err(|error| self.fail("sync the checkpoint in", &self.dir, error))
    }

    pub(super) fn note_durable(&self, end: &End) {
        let active = read(&self.view).active().head.first_index;
        let mut sync = lock(&self.sync);
        sync.durable = DurableEnd { next_index: end.next_index, next_offset: end.next_offset };
        (sync.point, sync.sealed_before) = (None, active);
        self.flush.cut(end.next_index);
    }

    /// A half-done change of the files: only a new start finds out how far it went.
    pub(super) fn failed(&self, doing: &'static str, error: LogError) -> LogError {
        let text = std::io::Error::other(error.to_string());
        self.fail(doing, &self.dir.clone(), text)
    }
}
