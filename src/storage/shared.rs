//! What all logs of a process share: sync threads, cache budget, disk, and what ends the process.
//!
//! **Invariant:** a process has one `Storage`; each test has its own.

use std::sync::Arc;

use super::cache::CacheBudget;
use super::disk::{Disk, FatalHook, SystemDisk, abort_process};
use super::syncer::Syncer;

/// Shared by the logs of a process. Clone shares it.
#[derive(Clone)]
pub struct Storage {
    pub(super) syncer: Syncer,
    pub(super) cache: Arc<CacheBudget>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) fatal: FatalHook,
}

/// How a [`Storage`] is made.
#[derive(Clone)]
pub struct StorageOptions {
    /// Syncs that run at a time; threads start when there is work for them.
    pub sync_threads_max: usize,
    /// Bytes of recent entries kept in memory, over all logs.
    pub cache_bytes_max: usize,
    /// Puts files on the disk.
    pub disk: Arc<dyn Disk>,
    /// Called at the first write or sync that fails.
    pub fatal: FatalHook,
}

impl Default for StorageOptions {
    /// 8 sync threads, 32 MiB of cache, the machine's disk; a failure ends the process.
    fn default() -> Self {
        Self {
            sync_threads_max: 8,
            cache_bytes_max: 32 << 20,
            disk: Arc::new(SystemDisk),
            fatal: abort_process(),
        }
    }
}

impl Storage {
    /// Storage with `options`.
    #[must_use]
    pub fn new(options: StorageOptions) -> Self {
        Self {
            syncer: Syncer::new(options.sync_threads_max),
            cache: Arc::new(CacheBudget::new(options.cache_bytes_max)),
            disk: options.disk,
            fatal: options.fatal,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new(StorageOptions::default())
    }
}
