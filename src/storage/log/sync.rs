//! When a log's bytes are on disk.
//!
//! **Invariant:** the durable end moves only after a sync that began after the bytes were written
//! (and back by a truncation).

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::model::Offset;
use crate::storage::LogError;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::locks::{lock, read};
use crate::storage::syncer::{SyncDone, SyncTarget, SyncTicket};

use super::{Inner, Log};

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
    /// The folder's own name and the first segment's are not on disk yet.
    pub(super) dirs_dirty: bool,
    /// Nothing is appended any more: the next recovery point is the clean-shutdown marker.
    pub(super) closed: bool,
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

    /// Syncs in this thread.
    ///
    /// # Errors
    /// [`LogError::Failed`], or [`LogError::Io`] of the first failure (unless the process ended).
    pub fn sync_blocking(&self) -> Result<(), LogError> {
        self.0.check_usable()?;
        self.0.sync_end()?;
        self.0.write_checkpoint();
        Ok(())
    }

    /// Syncs and leaves the clean-shutdown marker; writes fail from here on.
    ///
    /// # Errors
    /// [`LogError::Failed`], or [`LogError::Io`] of the first failure (unless the process ended).
    pub fn close(&self) -> Result<(), LogError> {
        let mut writer = lock(&self.0.writer);
        if writer.closed {
            return Ok(());
        }
        self.0.check_usable()?;
        self.0.sync_end()?;
        writer.closed = true;
        lock(&self.0.sync).closed = true;
        self.0.write_checkpoint();
        Ok(())
    }
}

impl Inner {
    /// Puts everything up to the current end on disk.
    pub(super) fn sync_end(&self) -> Result<(), LogError> {
        let (segment, end, generation) = {
            let view = read(&self.view);
            (Arc::clone(view.active()), view.end, view.generation)
        };
        let disk = &*self.storage.disk;
        if let Err(error) = disk.sync_data(segment.file()?) {
            return Err(self.fail("sync", &segment.path, error));
        }
        self.sync_dirs_once()?;
        let mut sync = lock(&self.sync);
        if read(&self.view).generation == generation && end.next_index >= sync.durable.next_index {
            sync.durable = DurableEnd { next_index: end.next_index, next_offset: end.next_offset };
            let point = Checkpoint {
                segment: segment.head.first_index,
                position: end.position,
                next_index: end.next_index,
                next_offset: end.next_offset,
                clean: false,
            };
            sync.point = Some((point, generation));
        }
        Ok(())
    }

    /// Makes the names of a new log's folder and first segment durable.
    fn sync_dirs_once(&self) -> Result<(), LogError> {
        if !lock(&self.sync).dirs_dirty {
            return Ok(());
        }
        let parent = self.dir.parent().filter(|p| !p.as_os_str().is_empty());
        for dir in [Some(&*self.dir), parent].into_iter().flatten() {
            self.sync_dir(dir)?;
        }
        lock(&self.sync).dirs_dirty = false;
        Ok(())
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), LogError> {
        self.storage.disk.sync_dir(dir).map_err(|error| self.fail("sync", dir, error))
    }

    /// Notes the recovery point of the last sync. A failure costs a longer recovery, nothing else.
    pub(super) fn write_checkpoint(&self) {
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
        let disk = closed.then_some(&*self.storage.disk);
        if let Err(error) = file.write(&point, disk) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot write the checkpoint");
        }
    }
}

impl SyncTarget for Inner {
    fn ticket(&self) -> &SyncTicket {
        &self.ticket
    }

    fn sync_now(&self) -> io::Result<()> {
        self.check_usable()?;
        self.sync_end()?;
        // Before anyone is told: a log that is then opened again is not written to from here.
        self.write_checkpoint();
        Ok(())
    }
}
