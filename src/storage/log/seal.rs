//! Puts closed segments on the disk, behind the appends' back.
//!
//! A roll syncs nothing. The next sync of the log does what it left, before it says that anything in the
//! new segment is durable:
//! ```text
//! closed segments cut ─► each synced ─► active segment synced ─► folder synced ─► indexes sealed
//!   ─► recovery point in the active segment, synced ─► durable end
//! ```
//! So a crash at any point leaves closed segments that are torn, not cut or without a head only where no
//! recovery point speaks of a later one, and then nothing in a later one was ever durable.
//!
//! **Invariant:** a closed segment is not cut any more once a truncation has begun: its file may be the
//! active one again.

use std::sync::Arc;

use crate::storage::LogError;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::locks::{lock, read};
use crate::storage::open_files::is_out_of_files;
use crate::storage::segment::{End, Segment};

use super::view::Part;
use super::{Inner, Watched};

/// What a sync covers: all of the segments up to this end.
pub(super) struct Covered {
    /// Closed since the last sync, oldest first, each with how many writes of it are covered.
    pub(super) closed: Vec<(Part, u64)>,
    pub(super) segment: Arc<Segment>,
    /// Writes of that one.
    pub(super) writes: u64,
    pub(super) end: End,
    pub(super) appended_bytes: u64,
    pub(super) generation: u64,
}

impl Covered {
    pub(super) fn point(&self) -> Checkpoint {
        Checkpoint {
            segment: self.segment.head.first_index,
            position: self.end.position,
            next_index: self.end.next_index,
            next_offset: self.end.next_offset,
            clean: false,
        }
    }
}

impl Inner {
    /// What a sync that begins now will cover.
    pub(super) fn covered(&self) -> Result<Covered, LogError> {
        let sealed_before = lock(&self.sync).sealed_before;
        let appended_bytes = self.flush.appended_bytes();
        let view = read(&self.view);
        let last = view.segments.len() - 1;
        let sealed = sealed_before.checked_sub(1);
        let from = sealed.map_or(0, |index| view.segments.count_upto_index(index)).min(last);
        let mut closed = Vec::new();
        for at in from..last {
            let part = view.part(at)?;
            let writes = part.segment.writes();
            closed.push((part, writes));
        }
        let (segment, end) = (Arc::clone(view.active()), view.end);
        let writes = segment.writes();
        let generation = view.generation;
        Ok(Covered { closed, segment, writes, end, appended_bytes, generation })
    }

    /// Whether the segment that begins with `first_index`, not the active one, is on the disk as a whole,
    /// and known to be by the recovery point.
    pub(super) fn is_sealed(&self, first_index: u64) -> bool {
        first_index < lock(&self.sync).sealed_before
    }

    /// Puts the closed segments on the disk, if that was not done yet; to be called by the writer.
    pub(super) fn seal_closed(&self) -> Result<(), LogError> {
        let is_sealed = {
            let active = read(&self.view).active().head.first_index;
            lock(&self.sync).sealed_before == active
        };
        if is_sealed { Ok(()) } else { self.sync_end() }
    }

    /// Cuts what closed segments have behind their ends.
    pub(super) fn cut_closed(&self, covered: &Covered) -> Result<(), LogError> {
        if covered.closed.is_empty() {
            return Ok(());
        }
        let _cutting = lock(&self.cutting);
        if read(&self.view).generation != covered.generation {
            return Ok(());
        }
        for (Part { segment, end, .. }, _) in &covered.closed {
            if self.is_sealed(segment.head.first_index) {
                // By another sync. Its name may be a compacted one's by now.
                continue;
            }
            let file = segment.file()?;
            let len = file.metadata().map_err(LogError::io("inspect", &segment.path))?.len();
            if len != end.position {
                self.storage
                    .disk
                    .set_len(&file, end.position)
                    .map_err(|error| self.fail("cut", &segment.path, error))?;
            }
        }
        Ok(())
    }

    /// Waits until no file is being cut or made longer beside the writer; after the generation has changed,
    /// no closed one will be cut.
    pub(super) fn stop_cutting(&self) {
        drop(lock(&self.cutting));
    }

    /// Ends what a roll began, once everything `covered` speaks of is on the disk, names included.
    pub(super) fn finish_sealing(&self, covered: &Covered) -> Result<(), LogError> {
        if covered.closed.is_empty() {
            return Ok(());
        }
        let closed = covered.closed.iter().map(|(part, _)| &part.segment);
        for segment in closed.filter(|segment| !self.is_sealed(segment.head.first_index)) {
            if let Err(error) = segment.index().seal(&Watched(self)) {
                let path = segment.index().path().display();
                tracing::warn!(%error, %path, "cannot seal the index");
            }
        }
        self.check_usable()?;
        let mut file = lock(&self.checkpoint);
        if read(&self.view).generation != covered.generation {
            return Ok(());
        }
        // Another sync may have noted a later one; none goes back.
        let noted =
            lock(&self.sync).point.filter(|(_, generation)| *generation == covered.generation);
        let later = noted.map(|(point, _)| point).filter(|p| p.next_index > covered.end.next_index);
        let point = later.unwrap_or_else(|| covered.point());
        match file.write_durably(&point, &Watched(self)) {
            Ok(()) => {
                let mut sync = lock(&self.sync);
                sync.sealed_before = sync.sealed_before.max(covered.segment.head.first_index);
                sync.written = Some((point, self.storage.clock.now()));
            }
            // Nothing else is to be done with these segments before it says where they end.
            Err(error) if is_out_of_files(&error) => {
                return Err(LogError::io("write the checkpoint in", &self.dir)(error));
            }
            // A full disk. Recovery looks at more than it had to, and the next sync tries again.
            Err(error) => {
                self.check_usable()?;
                tracing::warn!(%error, dir = %self.dir.display(), "cannot write the checkpoint");
            }
        }
        Ok(())
    }
}
