//! When a log's bytes are on disk.
//!
//! **Invariant:** the durable end moves only after a sync that began after the bytes were written
//! (and back by a truncation).

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::model::mutant;
use crate::model::{Offset, Timestamp};
use crate::storage::checkpoint::Checkpoint;
use crate::storage::idle_points::PointKeeper;
use crate::storage::locks::{lock, read};
use crate::storage::retained::Retained;
use crate::storage::syncer::{Ended, Finish, SyncDone, SyncTarget, SyncTicket};
use crate::storage::{EntryId, LogError};

use super::seal::Covered;
use super::{Inner, Log, Watched};

/// A recovery point is written when the last one is so old, or so many bytes back.
const CHECKPOINT_INTERVAL_MS: i64 = 5_000;
const CHECKPOINT_BYTES: u64 = 1 << 20;

/// How far a log is on disk: everything before these is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableEnd {
    /// The first index that is not known to be on disk.
    pub next_index: u64,
    /// The first offset that is not known to be on disk.
    pub next_offset: Offset,
}

pub(super) struct SyncState {
    pub(super) durable: DurableEnd,
    /// The recovery point to write, and the view's generation when it was true.
    pub(super) point: Option<(Checkpoint, u64)>,
    /// The recovery point that was written last, and when.
    pub(super) written: Option<(Checkpoint, Timestamp)>,
    pub(super) idle: Idle,
    /// Segments that begin before this index are on the disk as a whole and cut to their size, and the
    /// recovery point is not in them.
    pub(super) sealed_before: u64,
    /// The folder's own name, names in it or the retained mark may not be on disk yet.
    pub(super) unsettled: bool,
    /// Nothing is appended any more: the next recovery point is the clean-shutdown marker.
    pub(super) closed: bool,
}

/// What makes the recovery point of the last sync be written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Idle {
    /// Listed with [`crate::storage::idle_points`].
    listed: bool,
    /// Synced since the last look.
    busy: bool,
}

impl Log {
    /// Calls `done` once everything that was appended before this call is on disk. Requests of all
    /// logs share syncs; `done` runs on a sync thread and must not block.
    ///
    /// A sync that fails ends the process; where the hook is a test's, `done` gets the error.
    pub fn sync(&self, done: SyncDone) {
        let target: Arc<Inner> = Arc::clone(&self.0);
        self.0.storage.syncer.ask(target, done);
    }

    /// How far the log is on disk.
    #[must_use]
    pub fn durable_end(&self) -> DurableEnd {
        lock(&self.0.sync).durable
    }

    /// The entry at `index`, or the last one that is on the disk where that one is before it. `None` where
    /// none is, or it was purged.
    #[must_use]
    pub fn durable_upto(&self, index: u64) -> Option<EntryId> {
        let index = index.min(self.durable_end().next_index.checked_sub(1)?);
        self.term_of(index).map(|term| EntryId::new(term, index))
    }

    /// Syncs in this thread.
    ///
    /// # Errors
    /// [`LogError::Failed`], or [`LogError::Io`] of the first failure (unless the process ended).
    pub fn sync_blocking(&self) -> Result<(), LogError> {
        self.0.check_usable()?;
        self.0.sync_end()?;
        self.0.write_checkpoint(false);
        Ok(())
    }

    /// Syncs and leaves the clean-shutdown marker; writes fail from here on, and nothing is changed in the
    /// log's folder, also where it fails.
    ///
    /// # Errors
    /// [`LogError::Failed`], or [`LogError::Io`] of the first failure (unless the process ended).
    pub fn close(&self) -> Result<(), LogError> {
        let mut writer = lock(&self.0.writer);
        self.0.check_usable()?;
        if writer.closed {
            return Ok(());
        }
        self.0.stop_preparing();
        self.0.stop_keeping_applied();
        let synced = self.0.sync_end();
        writer.closed = true;
        match synced {
            Ok(()) => lock(&self.0.sync).closed = true,
            // Nobody is to be told that it is on the disk.
            Err(_) => self.0.failed.store(true, Ordering::Release),
        }
        // One that nobody waits for may run: what is opened here next is not to find its recovery point.
        drop(lock(&self.0.noting));
        synced?;
        self.0.write_checkpoint(true);
        self.0.check_usable()
    }
}

impl Inner {
    /// Puts everything up to the current end on disk.
    pub(super) fn sync_end(&self) -> Result<(), LogError> {
        let covered = loop {
            let covered = self.covered()?;
            match self.sync_files(&covered) {
                Ok(()) => break covered,
                // Cut off meanwhile, and a file that is closed is not there to be opened any more.
                Err(_) if self.check_usable().is_ok() && self.has_changed(&covered) => {}
                Err(error) => return Err(error),
            }
        };
        self.settle()?;
        if !covered.closed.is_empty() && !mutant::is_on("segment-name-not-synced") {
            self.sync_dir(&self.dir)?;
        }
        self.finish_sealing(&covered)?;
        self.note_synced(&covered);
        Ok(())
    }

    fn sync_files(&self, covered: &Covered) -> Result<(), LogError> {
        self.cut_closed(covered)?;
        let closed = covered.closed.iter().map(|(part, writes)| (&part.segment, *writes));
        let closed = closed.filter(|_| !mutant::is_on("closed-segment-not-synced"));
        for (segment, writes) in closed.chain([(&covered.segment, covered.writes)]) {
            let file = segment.file()?;
            if let Err(error) = self.storage.disk.sync_data(&file) {
                return Err(self.fail("sync", &segment.path, error));
            }
            // It can be closed from here on, where the next one cannot be opened.
            segment.note_synced(writes);
        }
        Ok(())
    }

    /// Whether entries were cut off since.
    fn has_changed(&self, covered: &Covered) -> bool {
        read(&self.view).generation != covered.generation
    }

    /// The same, for those who do not keep the log from being closed meanwhile. Only if `is_due`, which is
    /// asked when the syncs that run have ended.
    pub(super) fn sync_if(&self, is_due: impl FnOnce() -> bool) -> Result<(), LogError> {
        let _noting = lock(&self.noting);
        self.check_usable()?;
        // Closing it has put everything on the disk.
        if lock(&self.sync).closed || !is_due() {
            return Ok(());
        }
        self.sync_end()?;
        // Before anyone is told: a log that is then opened again is not written to from here.
        self.write_checkpoint_if_due();
        Ok(())
    }

    fn note_synced(&self, covered: &Covered) {
        let Covered { closed, segment, writes, end, appended_bytes, generation } = covered;
        self.flush.note_synced(*appended_bytes);
        closed.iter().for_each(|(part, writes)| part.segment.note_synced(*writes));
        segment.note_synced(*writes);
        if !closed.is_empty() {
            // As many as were rolled since the last sync had to stay open.
            self.storage.open_files.shrink();
        }
        let mut sync = lock(&self.sync);
        if read(&self.view).generation == *generation && end.next_index >= sync.durable.next_index {
            sync.durable = DurableEnd { next_index: end.next_index, next_offset: end.next_offset };
            sync.point = Some((covered.point(), *generation));
        }
        drop(sync);
        self.list_idle_point();
    }

    /// The recovery point on the disk does not cover the last sync: sees to it that it will.
    pub(super) fn list_idle_point(&self) {
        let was_listed = {
            let idle = &mut lock(&self.sync).idle;
            idle.busy = true;
            std::mem::replace(&mut idle.listed, true)
        };
        if !was_listed {
            let log: Weak<Self> = self.me.clone();
            self.storage.idle_points.list(log);
        }
    }

    /// Makes durable, once, what a new log or an unclean stop left to do beside the segments: the
    /// names, and where the log begins.
    pub(super) fn settle(&self) -> Result<(), LogError> {
        if !lock(&self.sync).unsettled {
            return Ok(());
        }
        if let Some(mark) = self.write_mark_again()? {
            self.storage
                .disk
                .sync_data(&mark)
                .map_err(|error| self.fail("sync the retained mark in", &self.dir, error))?;
        }
        let parent = self.dir.parent().filter(|p| !p.as_os_str().is_empty());
        for dir in [Some(&*self.dir), parent].into_iter().flatten() {
            self.sync_dir(dir)?;
        }
        lock(&self.sync).unsettled = false;
        Ok(())
    }

    /// For the next sync: the process that wrote the mark may have ended because its sync failed.
    fn write_mark_again(&self) -> Result<Option<File>, LogError> {
        if !lock(&self.sync).unsettled || read(&self.view).retained.is_none() {
            return Ok(None);
        }
        Retained::write_again(&self.dir, &Watched(self))
            .map(Some)
            .map_err(|error| self.fail_if_done("write the retained mark in", &self.dir, error))
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), LogError> {
        self.storage.disk.sync_dir(dir).map_err(|error| self.fail_if_done("sync", dir, error))
    }

    /// Writes the recovery point if the last one lies some time or many bytes back: with many small
    /// logs every write of it is one more dirty file for the next sync.
    fn write_checkpoint_if_due(&self) {
        let now = self.storage.clock.now();
        let is_due = {
            let sync = lock(&self.sync);
            match (&sync.point, &sync.written) {
                (Some((point, _)), Some((written, at))) => {
                    point.segment != written.segment
                        || point.position.saturating_sub(written.position) >= CHECKPOINT_BYTES
                        // A clock may be set back.
                        || !(at.0..at.0 + CHECKPOINT_INTERVAL_MS).contains(&now.0)
                }
                _ => true,
            }
        };
        if is_due {
            self.write_checkpoint(false);
        }
    }

    /// Notes the recovery point of the last sync; the clean-shutdown marker, and with `durably` any, is on
    /// disk on return. A write that fails costs a longer recovery, nothing else.
    fn write_checkpoint(&self, durably: bool) {
        let mut file = lock(&self.checkpoint);
        let (point, closed) = {
            let sync = lock(&self.sync);
            (sync.point, sync.closed)
        };
        // Under the file's lock, which a truncation takes to lower it: an older one cannot overtake.
        let Some((mut point, generation)) = point else { return };
        if read(&self.view).generation != generation {
            return;
        }
        point.clean = closed;
        let disk = &Watched(self);
        let written =
            if durably { file.write_durably(&point, disk) } else { file.write(&point, disk) };
        if let Err(error) = written {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot write the checkpoint");
            return;
        }
        lock(&self.sync).written = Some((point, self.storage.clock.now()));
    }
}

impl SyncTarget for Inner {
    fn ticket(&self) -> &SyncTicket {
        &self.ticket
    }

    fn sync_now(&self) -> Ended {
        self.ended(self.sync_if(|| true))
    }

    fn is_on_volume(&self) -> bool {
        self.on_volume
    }

    fn begin_on_volume(&self) -> Finish<'_> {
        let noting = lock(&self.noting);
        if lock(&self.sync).closed {
            return Box::new(|_| Some(Ok(())));
        }
        let covered = self.check_usable().and_then(|()| {
            let covered = self.covered()?;
            self.cut_closed(&covered)?;
            self.write_mark_again()?;
            Ok(covered)
        });
        drop(noting);
        Box::new(move |result| self.ended(self.end_on_volume(covered, result)))
    }
}

impl Inner {
    /// Who waits can only be told that it is on the disk, or that it never will be.
    fn ended(&self, result: Result<(), LogError>) -> Ended {
        if self.is_to_wait(&result) { None } else { Some(result.map_err(io::Error::from)) }
    }

    fn end_on_volume(
        &self,
        covered: Result<Covered, LogError>,
        result: &io::Result<()>,
    ) -> Result<(), LogError> {
        let _noting = lock(&self.noting);
        self.check_usable()?;
        if lock(&self.sync).closed {
            return Ok(());
        }
        if let Err(error) = result {
            let error = io::Error::new(error.kind(), error.to_string());
            return Err(self.fail("sync the volume of", &self.dir, error));
        }
        let covered = covered?;
        lock(&self.sync).unsettled = false;
        self.finish_sealing(&covered)?;
        self.note_synced(&covered);
        self.write_checkpoint_if_due();
        Ok(())
    }
}

impl PointKeeper for Inner {
    fn is_idle(&self) -> bool {
        let idle = &mut lock(&self.sync).idle;
        idle.listed = std::mem::take(&mut idle.busy);
        !idle.listed
    }

    fn write_idle_point(&self, shared: bool) -> bool {
        let _noting = lock(&self.noting);
        if lock(&self.sync).closed || self.check_usable().is_err() {
            return false;
        }
        let shared = shared && self.on_volume;
        self.write_checkpoint(!shared);
        shared
    }

    fn note_failed(&self, error: &io::Error) {
        self.note_failure("sync the volume of", &self.dir, error);
    }
}
