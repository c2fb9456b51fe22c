//! Whether the disk has room for more records.
//!
//! A reserve is kept: below it no records are taken from producers, while what frees space (retention,
//! deletions), what others need (offsets, votes) and what other nodes have acknowledged already still
//! goes on. The last quarter of it is for what is not records.
//!
//! ```text
//! free:  ……………………│  reserve  │ ¾ │ ¼ │
//!        records   replication   votes, metadata, commands
//! ```
//! Where even that is gone (others write to the volume too), the [ballast](super::ballast) is given up.
//!
//! **Invariant:** once refused, records are taken again only when a quarter more than the reserve is
//! free, so that it does not go back and forth with every append.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::LogError;
use super::ballast::{BALLAST_BYTES, Ballast, Need};
use super::locks::lock;

/// Left free on an almost full disk when ballast is taken back, for whoever needs a little.
const SPARED_BYTES: u64 = 128 << 10;
/// Files that can still be made, below which a volume counts as full: segments and their indexes are files.
const FILES_MIN: u64 = 32;
/// Part of a volume that the reserve takes at most: a small volume should not be all reserve.
const SHARE_MAX: u64 = 20;

/// How full the volume of the data folder is. Without a folder there is always room.
#[derive(Debug)]
pub struct DiskSpace {
    dir: Option<PathBuf>,
    wanted_bytes: u64,
    reserve: AtomicU64,
    free: AtomicU64,
    full: AtomicBool,
    /// Without a folder there is none.
    ballast: Option<Ballast>,
    /// Those who wait for room.
    waiting: Mutex<()>,
    changed: Condvar,
}

impl DiskSpace {
    pub(super) fn new(dir: Option<&Path>, reserve_bytes: u64) -> Self {
        let space = Self {
            dir: dir.map(Path::to_owned),
            wanted_bytes: reserve_bytes,
            reserve: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
            ballast: dir.map(Ballast::of),
            waiting: Mutex::new(()),
            changed: Condvar::new(),
        };
        space.tend();
        space
    }

    /// Attempts what needs a little space, and again as long as it is told that the disk is full and
    /// ballast is left for `need`.
    ///
    /// # Errors
    /// Of `attempt`.
    pub(super) fn with_ballast<T>(
        &self,
        need: Need,
        mut attempt: impl FnMut() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            match attempt() {
                Err(error) if error.is_full() && self.give(need) => {}
                outcome => return outcome,
            }
        }
    }

    /// Gives up some ballast; false when none is left for `need`.
    pub(super) fn give(&self, need: Need) -> bool {
        self.ballast.as_ref().is_some_and(|ballast| ballast.give(need))
    }

    /// Takes ballast back that was not needed after all, at once: what is free may be gone in a moment.
    pub(super) fn take_back(&self) {
        if let Some(ballast) = &self.ballast {
            ballast.take_back(u64::MAX);
        }
    }

    /// Looks, and sets ballast aside again where there is room; on an almost full disk, where there is
    /// some to spare. To be called now and then.
    pub fn tend(&self) {
        self.look();
        let Some(ballast) = &self.ballast else { return };
        if self.has_room() && self.free_bytes() > BALLAST_BYTES {
            ballast.fill();
        } else {
            ballast.take_back(self.free_bytes().saturating_sub(SPARED_BYTES));
        }
    }

    /// Asks the file system (about a microsecond), and says so when room ends or comes back.
    pub fn look(&self) {
        let Some(dir) = &self.dir else { return };
        match rustix::fs::statvfs(dir) {
            Ok(found) => {
                // Some file systems count none.
                let has_files = found.f_files == 0 || found.f_favail >= FILES_MIN;
                let free = if has_files { found.f_bavail * found.f_frsize } else { 0 };
                self.note(free, found.f_blocks * found.f_frsize);
            }
            // What was known last still is the best answer.
            Err(error) => tracing::debug!(%error, "the volume does not tell its free space"),
        }
    }

    fn note(&self, free: u64, total: u64) {
        let reserve = self.wanted_bytes.min(total / SHARE_MAX);
        self.reserve.store(reserve, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
        let was_full = self.full.load(Ordering::Relaxed);
        let is_full = free < if was_full { reserve + reserve / 4 } else { reserve };
        if is_full == was_full {
            return;
        }
        self.full.store(is_full, Ordering::Relaxed);
        let mib = |bytes: u64| bytes >> 20;
        if is_full {
            tracing::error!(
                free_mib = mib(free),
                reserve_mib = mib(reserve),
                "the disk is almost full: records are refused until there is room; delete topics \
                 or records, lower their retention, or make the volume larger"
            );
        } else {
            tracing::info!(free_mib = mib(free), "the disk has room again: records are taken");
            let _waiting = lock(&self.waiting);
            self.changed.notify_all();
        }
    }

    /// Whether records may be taken from producers.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }

    /// Whether a leader's records may be taken.
    #[must_use]
    pub fn has_room_for_replication(&self) -> bool {
        self.free_bytes() >= self.reserve_bytes() / 4
    }

    /// Whether a log may be made in `dir`: it would not get far without room for what is replicated.
    ///
    /// # Errors
    /// [`LogError::Full`].
    pub fn check_room_for_a_log(&self, dir: &Path) -> Result<(), LogError> {
        if self.has_room_for_replication() {
            return Ok(());
        }
        let needed_bytes = (self.reserve_bytes() / 4).saturating_sub(self.free_bytes());
        Err(LogError::Full { path: dir.to_owned(), needed_bytes })
    }

    /// Bytes that are free, as of the last look.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Bytes that records from producers leave free.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
    }

    /// Waits for room, for so long at most.
    pub(super) fn wait(&self, at_most: Duration) {
        let waiting = lock(&self.waiting);
        // A panic elsewhere poisons nothing that is used here.
        drop(self.changed.wait_timeout(waiting, at_most));
        self.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_at_the_reserve_and_comes_back_a_quarter_above_it() {
        let space = DiskSpace::new(None, 1_000);
        let room = |free| {
            space.note(free, 1_000_000);
            (space.has_room(), space.has_room_for_replication())
        };
        assert_eq!(room(1_000), (true, true));
        assert_eq!(room(999), (false, true));
        assert_eq!(room(1_200), (false, true));
        assert_eq!(room(249), (false, false));
        assert_eq!(room(1_250), (true, true));
        assert_eq!(room(1_000), (true, true));
    }

    #[test]
    fn a_small_volume_keeps_a_twentieth() {
        let space = DiskSpace::new(None, 1_000);
        space.note(99, 2_000);
        assert_eq!((space.reserve_bytes(), space.has_room()), (100, false));
    }

    #[test]
    fn a_real_volume_tells() {
        let dir = tempfile::tempdir().unwrap();
        let space = DiskSpace::new(Some(dir.path()), 1);
        assert!(space.has_room() && space.free_bytes() < u64::MAX);
    }
}
