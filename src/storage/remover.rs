//! Deletes the files of purged segments in the background: freeing a gigabyte may take a file system
//! long, and nobody needs to wait for it.
//!
//! A file is renamed first, so that its name is free and its log no longer knows it; what a crash
//! leaves behind under the new name is removed when the log is opened.
//!
//! **Invariant:** a file comes here only after it is written down, durably, that its entries are gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::background::Background;
use super::disk::Disk;
use super::error::is_full;

/// The end of the name of a file that is to be deleted.
pub(super) const GONE: &str = "gone";

/// What retention has freed since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgedTotals {
    /// Segments.
    pub segments: u64,
    /// Bytes of their entries and heads.
    pub bytes: u64,
}

/// Hands files over to be deleted, and counts them.
pub(super) struct Remover {
    disk: Arc<dyn Disk>,
    background: Arc<Background>,
    segments: AtomicU64,
    bytes: AtomicU64,
}

impl Remover {
    pub(super) fn new(disk: Arc<dyn Disk>, background: Arc<Background>) -> Self {
        let (segments, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { disk, background, segments, bytes }
    }

    /// Counts a segment that was purged.
    pub(super) fn count(&self, bytes: u64) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> PurgedTotals {
        PurgedTotals {
            segments: self.segments.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Takes the file at `path` out of sight now and deletes it soon. A file that is not there is
    /// deleted already.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(GONE);
        let gone = PathBuf::from(name);
        match self.disk.rename(path, &gone) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // No room for another name.
            Err(error) if is_full(&error) => return self.disk.remove_if_there(path),
            Err(error) => return Err(error),
        }
        let stays = |path: &Path, error: io::Error| {
            tracing::warn!(%error, path = %path.display(), "a purged file stays until the next start");
        };
        let (disk, path) = (Arc::clone(&self.disk), gone.clone());
        let asked = self.background.run(move || {
            if let Err(error) = disk.remove_if_there(&path) {
                stays(&path, error);
            }
        });
        if let Err(error) = asked {
            stays(&gone, error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SystemDisk;
    use std::fs;

    #[test]
    fn a_file_is_out_of_sight_at_once_and_gone_soon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        fs::write(&path, b"x").unwrap();
        let remover = Remover::new(Arc::new(SystemDisk), Arc::default());
        remover.remove(&path).unwrap();
        assert!(!path.exists());
        remover.remove(&path).unwrap();
        while fs::read_dir(dir.path()).unwrap().next().is_some() {
            std::thread::yield_now();
        }
    }
}
