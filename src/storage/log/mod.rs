//! A partition's log: segments of entries, one of which is appended to.
//!
//! ```text
//!            start offset                      end offset
//! purged ─┐  │                                 │
//! [sealed segment][closed segment ……][active segment ……zeros]
//!                   │
//!                   durable end ≤ end; behind it, closed segments are sealed by the next sync
//! ```
//! One owner at a time writes (append, truncate, purge, reset); reads come from any thread and do
//! not wait for writes.
//!
//! **Invariant:** base offset and leader epoch of a batch are a function of the log before it.
//! **Invariant:** a reader sees an entry only when it is in the file as a whole.
//! Lock order: compacting, then writer, then noting, then checkpoint, then view or sync (neither of which is held across I/O);
//! writer, then applied.
//! Deliberately elsewhere: what is committed, who leads, what entries mean.

mod ahead;
mod append;
mod applied;
mod chain;
mod compaction;
mod fetch;
mod flush;
mod grow;
mod history;
mod membership;
mod newest;
mod open;
mod output;
mod purge;
mod read;
mod recovery;
mod retention;
mod roll;
mod scan;
mod seal;
mod sealed_times;
mod search;
mod segments;
mod snapshot;
mod sync;
mod timestamps;
mod truncate;
mod view;

#[cfg(test)]
pub(super) mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

pub use append::Appended;
pub(super) use chain::Chain;
pub use compaction::{Compacted, Compaction, CompactionLimits, Dirt};
pub use fetch::{BatchHeaders, BatchPosition};
pub use history::{History, HistoryItem};
pub(super) use newest::KnownNewest;
pub use newest::NewestRecord;
pub use open::{Recovery, read_identity};
pub use retention::{Committed, RetainFrom, RetentionLimits};
pub use sync::DurableEnd;
pub use view::SegmentInfo;

use self::ahead::Ahead;
use self::append::Writer;
use self::applied::Applied;
use self::compaction::CleanMark;
use self::flush::Flush;
use self::sync::SyncState;
use self::view::View;
use super::cache::EntryCache;
use super::checkpoint::CheckpointFile;
use super::error::{is_full, may_pass};
use super::locks::read;
use super::open_files::is_out_of_files;
use super::syncer::SyncTicket;
use super::{Disk, EntryId, LogError, LogIdentity, LogOptions, ReadWatch, RollLimits, Storage};
use crate::model::{LeaderEpoch, Offset};

/// A partition's log. Clone shares it.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    me: Weak<Self>,
    dir: PathBuf,
    identity: LogIdentity,
    options: LogOptions,
    /// When the active segment is closed; `options` says how it was when the log was opened.
    roll: RwLock<RollLimits>,
    flush: Flush,
    storage: Storage,
    writer: Mutex<Writer>,
    view: RwLock<View>,
    cache: Arc<EntryCache>,
    ticket: SyncTicket,
    sync: Mutex<SyncState>,
    /// Held by who may write the recovery point beside the writer; none does once the log is closed.
    noting: Mutex<()>,
    /// A sync of the volume covers it.
    on_volume: bool,
    checkpoint: Mutex<CheckpointFile>,
    clean_mark: CleanMark,
    /// Held while closed segments are cut, and while the active one is made longer ahead of appends.
    cutting: Mutex<()>,
    /// The next segment's file.
    ahead: Ahead,
    applied: Applied,
    /// Told by slices what cannot be read.
    watch: OnceLock<Arc<dyn ReadWatch>>,
    /// Held by the one who compacts.
    compacting: Mutex<()>,
    /// A write or sync failed: nothing is written any more.
    failed: AtomicBool,
    /// An append no longer waits for space.
    stopped: AtomicBool,
}

impl Log {
    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> &LogIdentity {
        &self.0.identity
    }

    /// Lets slices that are found from here on tell `watch` when they cannot be read; the first one stays.
    pub fn watch_reads(&self, watch: Arc<dyn ReadWatch>) {
        // A second one is its caller's mistake, and changes nothing.
        let _ = self.0.watch.set(watch);
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        read(&self.0.view).end.next_offset
    }

    /// The first offset that is served. It lies within a segment where records were deleted.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        read(&self.0.view).start_offset()
    }

    /// How many segments it has.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        read(&self.0.view).segments.len()
    }

    /// The last entry; the purged one when nothing follows it; `None` when there never was one.
    #[must_use]
    pub fn last(&self) -> Option<EntryId> {
        read(&self.0.view).last()
    }

    /// The last entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<EntryId> {
        read(&self.0.view).purged()
    }

    /// The index of the first entry that is or would be held.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        read(&self.0.view).first_index()
    }

    /// The term of the entry at `index`, which may also be the last purged one; `None` if it is not
    /// in the log.
    #[must_use]
    pub fn term_of(&self, index: u64) -> Option<u64> {
        read(&self.0.view).term_of(index)
    }

    /// The entry at `first`, the first entry of each term after it, and the entry at `last`, those
    /// that the log holds (or that are the last purged one), without duplicates.
    #[must_use]
    pub fn key_ids(&self, first: u64, last: u64) -> Vec<EntryId> {
        read(&self.0.view).key_ids(first, last)
    }

    /// What OffsetForLeaderEpoch answers: the largest epoch ≤ `epoch` that the log knows, and the offset
    /// after its last record. `end` is what to answer for the newest epoch (the high watermark, the
    /// end offset). `None` when the epoch is not known (Kafka's −1, −1).
    #[must_use]
    pub fn epoch_end_offset(
        &self,
        epoch: LeaderEpoch,
        end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let view = read(&self.0.view);
        let (found, end) = view.epochs.end_offset(epoch, end)?;
        // An epoch that ended before the start is not known any more; the first known begins there.
        let start = view.start_offset();
        Some(if end < start { (epoch, start) } else { (found, end) })
    }

    /// The epoch of the record at `offset`, without a look at it; `None` where the log has none so old.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        read(&self.0.view).epochs.epoch_of(offset)
    }

    /// The newest epoch in the log.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        read(&self.0.view).epochs.starts().last().map(|e| LeaderEpoch(e.term as i32))
    }
}

/// The disk, noting the first sync that fails as the log's failure.
struct Watched<'a>(&'a Inner);

impl Disk for Watched<'_> {
    fn below(&self) -> &dyn Disk {
        &*self.0.storage.disk
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let result = self.below().sync_data(file);
        result.inspect_err(|error| self.0.note_failure("sync a file in", &self.0.dir, error))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let result = self.below().sync_dir(dir);
        result.inspect_err(|error| {
            // Without a descriptor nothing was synced.
            if !is_out_of_files(error) {
                self.0.note_failure("sync", dir, error);
            }
        })
    }

    fn sync_volume(&self, on: &File) -> io::Result<()> {
        let result = self.below().sync_volume(on);
        result.inspect_err(|error| self.0.note_failure("sync the volume of", &self.0.dir, error))
    }
}

/// The same, for a change that is half done: it has a descriptor in the end.
struct HalfWay<'a>(Watched<'a>);

impl HalfWay<'_> {
    fn insist<T>(&self, attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.0.0.storage.open_files.insist(attempt)
    }
}

impl Disk for HalfWay<'_> {
    fn below(&self) -> &dyn Disk {
        &self.0
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.insist(|| self.below().create(path))
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.insist(|| self.below().open_or_create(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.insist(|| self.below().sync_dir(dir))
    }
}

impl Inner {
    /// Refuses writes after a failure.
    fn check_usable(&self) -> Result<(), LogError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(LogError::Failed { path: self.dir.clone() });
        }
        Ok(())
    }

    /// Does what needs a descriptor, when there is one.
    fn insist<T>(&self, attempt: impl FnMut() -> Result<T, LogError>) -> Result<T, LogError> {
        self.storage.open_files.insist(attempt)
    }

    /// A write or a sync failed: the process ends here, unless a test's hook returns.
    fn fail(&self, doing: &'static str, path: &Path, error: io::Error) -> LogError {
        self.note_failure(doing, path, &error);
        LogError::Io { doing, path: path.to_owned(), source: error }
    }

    /// The same, but for want of a descriptor: then nothing was done.
    fn fail_if_done(&self, doing: &'static str, path: &Path, error: io::Error) -> LogError {
        if is_out_of_files(&error) {
            return LogError::Io { doing, path: path.to_owned(), source: error };
        }
        self.fail(doing, path, error)
    }

    fn note_failure(&self, doing: &'static str, path: &Path, error: &io::Error) {
        self.failed.store(true, Ordering::Release);
        (self.storage.fatal)(&format!("{doing} {}", path.display()), error);
    }

    /// For a change that is made beside what is in use, so that it may fail: a full disk is no reason
    /// to end. A sync that failed was noted by [`Watched`].
    fn refused(&self, doing: &'static str, error: io::Error) -> LogError {
        if is_full(&error) {
            return LogError::Full { path: self.dir.clone(), needed_bytes: 4096 };
        }
        LogError::Refused { doing, path: self.dir.clone(), source: error }
    }

    /// For a change that the log cannot go on without: what may pass is refused, and anything else is as a
    /// failed write.
    fn refused_or_failed(&self, doing: &'static str, error: io::Error) -> LogError {
        if may_pass(&error) {
            self.refused(doing, error)
        } else {
            self.fail(doing, &self.dir, error)
        }
    }
}
