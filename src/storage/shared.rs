//! What all logs of a process share: sync threads, cache budget, disk, and what ends the process.
//!
//! **Invariant:** a process has one `Storage`; each test has its own.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::background::Background;
use super::cache::CacheBudget;
use super::disk::{Disk, FatalHook, SystemDisk, abort_process};
use super::idle_points::IdlePoints;
use super::kv::{OpenStore, SledStore};
use super::open_files::{OpenFiles, SparingDisk, Wait, alone, is_out_of_files};
use super::remover::{PurgedTotals, Remover};
use super::space::DiskSpace;
use super::syncer::{Syncer, VolumeSync};
use super::workers::Workers;
use crate::model::log_limit::LogLimit;
use crate::model::{Clock, SystemClock};

/// In ten seconds.
const WAITS_SAID_MAX: u32 = 10;
/// Sync threads of a machine with many cores.
const SYNC_THREADS_MAX: usize = 16;

/// Shared by the logs of a process. Clone shares it.
#[derive(Clone)]
pub struct Storage {
    pub(super) syncer: Syncer,
    pub(super) cache: Arc<CacheBudget>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: Arc<dyn OpenStore>,
    pub(super) fatal: FatalHook,
    /// Number of the device whose logs may be synced all at once.
    pub(super) volume: Option<u64>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) background: Arc<Background>,
    pub(super) idle_points: Arc<IdlePoints>,
    pub(super) remover: Arc<Remover>,
    pub(super) space: Arc<DiskSpace>,
    pub(super) open_files: Arc<OpenFiles>,
    pub(super) wait: Wait,
    /// Lines about logs that wait.
    pub(super) waits: Arc<LogLimit>,
}

/// How a [`Storage`] is made.
#[derive(Clone)]
pub struct StorageOptions {
    /// Syncs that run at a time; threads start when there is work for them.
    pub sync_threads_max: usize,
    /// Segments whose files are open at a time, over all logs; more only while none can be closed.
    pub open_segments_max: usize,
    /// Bytes of recent entries kept in memory, over all logs.
    pub cache_bytes_max: usize,
    /// A folder of the volume that holds the logs; with it, many logs may share one sync.
    pub volume: Option<PathBuf>,
    /// Bytes of that volume that records from producers leave free; at most a twentieth of it.
    pub reserve_bytes: u64,
    /// Puts files on the disk.
    pub disk: Arc<dyn Disk>,
    /// Waits for descriptors and for space.
    pub wait: Wait,
    /// Does what is done apart from those who ask for it; without, threads do.
    pub workers: Option<Arc<dyn Workers>>,
    /// Opens the key-value store.
    pub store: Arc<dyn OpenStore>,
    /// Called at the first write or sync that fails.
    pub fatal: FatalHook,
    /// Tells the age of segments whose records have no timestamps.
    pub clock: Arc<dyn Clock>,
}

impl Default for StorageOptions {
    /// Two sync threads per core (16 at most), 512 open segments, 24 MiB of cache, the machine's disk; a failure ends
    /// the process.
    fn default() -> Self {
        Self {
            sync_threads_max: sync_threads_max(),
            open_segments_max: 512,
            cache_bytes_max: 24 << 20,
            volume: None,
            reserve_bytes: 512 << 20,
            disk: Arc::new(SystemDisk),
            wait: alone(),
            workers: None,
            store: Arc::new(SledStore),
            fatal: abort_process(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Enough for a device that syncs several files at a time. More would take the cores from those who
/// write: where many groups elect at once, hundreds of files wait, and each thread that wakes up ends the
/// turn of one that makes progress.
fn sync_threads_max() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).min(SYNC_THREADS_MAX)
}

impl Storage {
    /// Storage with `options`.
    #[must_use]
    pub fn new(options: StorageOptions) -> Self {
        let space = DiskSpace::new(options.volume.as_deref(), options.reserve_bytes);
        let opened = options.volume.as_deref().and_then(open_volume);
        let volume = opened.as_ref().map(|(_, device)| *device);
        let open_files =
            Arc::new(OpenFiles::new(options.open_segments_max, Arc::clone(&options.wait)));
        let disk: Arc<dyn Disk> =
            Arc::new(SparingDisk { disk: options.disk, open_files: Arc::clone(&open_files) });
        let sync = opened.map(|(on, _)| -> VolumeSync {
            let disk = Arc::clone(&disk);
            Arc::new(move || disk.sync_volume(&on))
        });
        let background = Arc::new(Background::new(options.workers.clone()));
        Self {
            idle_points: Arc::new(IdlePoints::new(sync.clone(), Arc::clone(&background))),
            syncer: Syncer::new(
                options.sync_threads_max,
                sync,
                options.workers,
                Arc::clone(&background),
            ),
            volume,
            cache: Arc::new(CacheBudget::new(options.cache_bytes_max)),
            remover: Arc::new(Remover::new(Arc::clone(&disk), Arc::clone(&background))),
            background,
            disk,
            open_files,
            wait: options.wait,
            waits: Arc::new(LogLimit::new(WAITS_SAID_MAX, Duration::from_secs(10))),
            store: options.store,
            fatal: options.fatal,
            clock: options.clock,
            space: Arc::new(space),
        }
    }

    /// The same, but that what is done in the background is done at once by whoever asks for it, so that
    /// a test gets the same order of operations every time.
    #[cfg(test)]
    #[must_use]
    pub(super) fn inline(mut self) -> Self {
        self.background = Arc::new(Background::inline());
        self.idle_points = Arc::new(IdlePoints::new(None, Arc::clone(&self.background)));
        self.remover = Arc::new(Remover::new(Arc::clone(&self.disk), Arc::clone(&self.background)));
        self
    }

    /// The same, but that nobody looks after idle logs but by [`IdlePoints::look`]: a test may count what
    /// is synced or open.
    #[cfg(test)]
    #[must_use]
    pub(super) fn without_looks(mut self) -> Self {
        self.idle_points = Arc::new(IdlePoints::new(None, Arc::new(Background::inline())));
        self
    }

    /// How full the volume is.
    #[must_use]
    pub fn space(&self) -> &Arc<DiskSpace> {
        &self.space
    }

    /// How many segments have their files open.
    #[must_use]
    pub fn open_segments(&self) -> usize {
        self.open_files.count()
    }

    /// Whether `error` was for want of a descriptor, and a segment gave its own: another attempt may succeed.
    #[must_use]
    pub fn close_segment_for(&self, error: &io::Error) -> bool {
        is_out_of_files(error) && self.open_files.close_one()
    }

    /// Segments that retention has deleted in this process, and their bytes.
    #[must_use]
    pub fn purged(&self) -> PurgedTotals {
        self.remover.totals()
    }
}

/// Opened once, at the start: a failed write is told to those who had the volume open before it.
fn open_volume(dir: &Path) -> Option<(File, u64)> {
    let opened = File::open(dir).and_then(|on| Ok((on.metadata()?.dev(), on)));
    match opened {
        Ok((device, on)) => Some((on, device)),
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "logs are synced one by one");
            None
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new(StorageOptions::default())
    }
}
