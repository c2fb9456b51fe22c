//! Deletes the files of purged segments on a thread of its own: freeing a gigabyte may take a file
//! system long, and nobody needs to wait for it.
//!
//! A file is renamed first, so that its name is free and its log no longer knows it; what a crash
//! leaves behind under the new name is removed when the log is opened.
//!
//! **Invariant:** a file comes here only after it is written down, durably, that its entries are gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use super::disk::Disk;
use super::locks::lock;

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

/// The thread, which begins with the first file and ends with the last log.
pub(super) struct Remover {
    disk: Arc<dyn Disk>,
    queue: Mutex<Option<mpsc::Sender<PathBuf>>>,
    segments: AtomicU64,
    bytes: AtomicU64,
}

impl Remover {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        let (segments, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { disk, queue: Mutex::default(), segments, bytes }
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
            Err(error) => return Err(error),
        }
        let mut queue = lock(&self.queue);
        if queue.is_none() {
            *queue = Some(start(Arc::clone(&self.disk))?);
        }
        // The thread ends only after this sender.
        if let Some(queue) = &*queue {
            let _ = queue.send(gone);
        }
        Ok(())
    }
}

fn start(disk: Arc<dyn Disk>) -> io::Result<mpsc::Sender<PathBuf>> {
    let (sender, files) = mpsc::channel::<PathBuf>();
    std::thread::Builder::new().name("jackdaw-remover".to_owned()).spawn(move || {
        for path in files {
            if let Err(error) = disk.remove_if_there(&path) {
                tracing::warn!(%error, path = %path.display(), "a purged file stays until the next \
                     start");
            }
        }
    })?;
    Ok(sender)
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
        let remover = Remover::new(Arc::new(SystemDisk));
        remover.remove(&path).unwrap();
        assert!(!path.exists());
        remover.remove(&path).unwrap();
        while fs::read_dir(dir.path()).unwrap().next().is_some() {
            std::thread::yield_now();
        }
    }
}
