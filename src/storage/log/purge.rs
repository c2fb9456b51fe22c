//! Takes entries off the beginning (retention, snapshots), and empties a log.
//!
//! **Invariant:** what is gone is written down, durably, before a file is deleted.
//! **Invariant:** files are deleted oldest first, so that a crash leaves no hole.

use std::sync::Arc;

use crate::model::{Offset, Timestamp};
use crate::storage::ballast::Need;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::epochs::Epochs;
use crate::storage::locks::{lock, read, write};
use crate::storage::retained::Retained;
use crate::storage::segment::{End, Segment};
use crate::storage::segment_head::SegmentHead;
use crate::storage::{EntryId, LogError};

use super::append::Writer;
use super::sealed_times::SealedTimes;
use super::{HalfWay, Inner, Log, Watched};

impl Log {
    /// Forgets every entry up to and including `upto`; the start offset moves to the first record
    /// after it, unless it is behind it already. Deletes the sealed segments that hold nothing else,
    /// soon after. Durable on return. Does nothing where `upto` was purged before.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when the log ends before `upto` (a snapshot's beginning: use
    /// [`Log::reset`]); [`LogError::Failed`]; [`LogError::Io`].
    pub fn purge(&self, upto: u64) -> Result<(), LogError> {
        let inner = &*self.0;
        let _writer = lock(&inner.writer);
        inner.check_usable()?;
        let purged = {
            let view = read(&inner.view);
            if upto < view.first_index() {
                return Ok(());
            }
            let (first, end) = (view.first_index(), view.end.next_index);
            match view.term_of(upto) {
                Some(term) => EntryId { term, index: upto },
                None => {
                    let last = end.saturating_sub(1);
                    return Err(LogError::OutOfRange { index: upto, first, last });
                }
            }
        };
        if self.durable_end().next_index <= upto {
            // The mark must not say that entries are gone by purge which a crash may take otherwise.
            inner.sync_end()?;
        }
        inner.seal_closed()?;
        inner.settle()?;
        let start_offset = self.offset_of(upto + 1)?;
        let retained = Retained { purged, start_offset, resetting: false };
        inner.storage.space.with_ballast(Need::Free, || {
            let written = retained.write(&inner.dir, &Watched(inner));
            written.map_err(|error| inner.refused_or_failed("replace the retained mark in", error))
        })?;
        let gone = {
            let mut view = write(&inner.view);
            view.retained = Some(retained);
            view.epochs.purge_before(upto + 1, start_offset);
            let count = view.segment_of_index(upto + 1);
            let gone = view.segments.drop_first(count);
            view.times.drop_first(count);
            for segment in &gone {
                view.sealed_bytes -= segment.sealed_len()?;
            }
            gone
        };
        for segment in gone {
            // What is left of it goes at the next opening, which finds the mark.
            segment
                .retire(&inner.storage.remover)
                .map_err(|error| inner.failed("delete", error))?;
            inner.storage.remover.count(segment.sealed_len()?);
        }
        Ok(())
    }

    /// Deletes the records below `offset`, of which nothing is served from now on; their segments stay
    /// until they are purged. The start offset never goes back, nor behind the end offset.
    ///
    /// Kept in memory: whoever calls it knows the offset again when the log is opened.
    pub fn raise_start(&self, offset: Offset) {
        let mut view = write(&self.0.view);
        view.start = view.start.max(offset.min(view.end.next_offset));
    }

    /// Empties the log, which goes on after `last` at `start_offset`: a snapshot was installed.
    /// Durable on return.
    ///
    /// # Errors
    /// [`LogError::Failed`]; [`LogError::Io`].
    pub fn reset(&self, last: EntryId, start_offset: Offset) -> Result<(), LogError> {
        let inner = &*self.0;
        let mut writer = lock(&inner.writer);
        inner.check_usable()?;
        inner.reset_to(&mut writer, last, start_offset)
    }
}

impl Inner {
    fn reset_to(
        &self,
        writer: &mut Writer,
        last: EntryId,
        start_offset: Offset,
    ) -> Result<(), LogError> {
        let disk = &Watched(self);
        let mark = |resetting| Retained { purged: last, start_offset, resetting };
        self.settle()?;
        let old = read(&self.view).segments.to_vec();
        // Held: a sync that comes to them when their names are gone finds them open.
        let unsealed = old.iter().filter(|segment| !self.is_sealed(segment.head.first_index));
        let _held: Vec<_> = unsealed.map(|segment| segment.file()).collect::<Result<_, _>>()?;
        let doing = "replace the retained mark in";
        mark(true).write(&self.dir, disk).map_err(|error| self.refused_or_failed(doing, error))?;
        let disk = &HalfWay(Watched(self));
        // From here to the second mark a crash makes `open` finish the reset, and so would going on
        // after an error: only a new start gets over one.
        self.clean_mark
            .forget(disk)
            .map_err(|error| self.failed("forget the clean mark in", error))?;
        // A sync that began before must not raise the recovery point again.
        write(&self.view).generation += 1;
        for segment in old.iter().rev() {
            // The view has it still, and a sync may come to those that are not on the disk as a whole.
            let own = if self.is_sealed(segment.head.first_index) { 2 } else { 0 };
            segment.keep_for_readers(own);
            segment.delete(disk).map_err(|error| self.failed("delete", error))?;
        }
        let head = reset_head(&mark(false), &self.identity);
        let open_files = &self.storage.open_files;
        let segment = Segment::create(&self.dir, false, head, disk, open_files, false, None)
            .map_err(|error| self.fail("create a segment in", &self.dir, error))?;
        let end = End {
            position: segment.head_bytes,
            next_index: last.index + 1,
            next_offset: start_offset,
        };
        writer.begin_segment(&segment, 0, self.storage.clock.now());
        {
            let mut view = write(&self.view);
            view.generation += 1;
            view.segments = vec![Arc::new(segment)].into();
            view.times = SealedTimes::default();
            view.sealed_bytes = 0;
            view.end = end;
            view.retained = Some(mark(false));
            view.epochs = Epochs::default();
            view.last_term = Some(last.term);
        }
        self.cache.truncate_from(0);
        let point = Checkpoint {
            segment: end.next_index,
            position: end.position,
            next_index: end.next_index,
            next_offset: end.next_offset,
            clean: false,
        };
        lock(&self.checkpoint)
            .write_durably(&point, disk)
            .map_err(|error| self.fail("sync the checkpoint in", &self.dir, error))?;
        mark(false).write(&self.dir, disk).map_err(|error| self.fail(doing, &self.dir, error))?;
        self.note_durable(&end);
        Ok(())
    }
}

/// The head of the segment that a log goes on with after a reset.
pub(super) fn reset_head(
    retained: &Retained,
    identity: &crate::storage::LogIdentity,
) -> SegmentHead {
    SegmentHead {
        base_offset: retained.start_offset,
        first_index: retained.purged.index + 1,
        term_before: Some(retained.purged.term),
        previous_first_index: None,
        previous_max_timestamp: Timestamp::NONE,
        identity: identity.clone(),
        epochs: Epochs::default(),
    }
}
