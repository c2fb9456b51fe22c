//! A segment's file and index as they are opened: at first use, and again after they were closed.
//!
//! **Invariant:** a file is closed only while nobody holds it and all that was written through it is on
//! the disk.
//! Deliberately elsewhere: which one is closed when ([`OpenFiles`]).

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::index::Index;
use super::locks::{read, write};
use super::open_files::{Closable, OpenFiles, UseMark};

/// The two files.
pub(super) struct SegmentFiles {
    file: RwLock<Option<Arc<File>>>,
    index: Index,
    open_files: Arc<OpenFiles>,
    mark: UseMark,
    /// Their names are given to others: never closed again.
    kept: AtomicBool,
    /// Writes that have ended.
    writes: AtomicU64,
    /// How many of them are on the disk.
    synced: AtomicU64,
}

impl SegmentFiles {
    /// Files that are there, not opened yet.
    pub(super) fn new(index: Index, open_files: Arc<OpenFiles>) -> Arc<Self> {
        Arc::new(Self {
            file: RwLock::default(),
            index,
            open_files,
            mark: UseMark::default(),
            kept: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        })
    }

    /// Takes in the segment's file as it was made.
    pub(super) fn set_file(self: &Arc<Self>, file: File) {
        *write(&self.file) = Some(Arc::new(file));
        self.open_files.note_opened(self);
    }

    /// The file at `path`, opened now if it is not.
    pub(super) fn file(self: &Arc<Self>, path: &Path) -> io::Result<Arc<File>> {
        self.mark.note_use();
        if let Some(file) = &*read(&self.file) {
            return Ok(Arc::clone(file));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let opened = Arc::new(self.open_files.open(|| options.open(path))?);
        let file = Arc::clone(write(&self.file).get_or_insert(opened));
        self.open_files.note_opened(self);
        Ok(file)
    }

    /// As [`Self::file`], for a write that ends when this is dropped.
    pub(super) fn file_to_write(self: &Arc<Self>, path: &Path) -> io::Result<FileToWrite> {
        Ok(FileToWrite { file: self.file(path)?, files: Arc::clone(self) })
    }

    /// What the system says about the file, if it is open.
    pub(super) fn metadata(&self) -> Option<io::Result<Metadata>> {
        read(&self.file).as_ref().map(|file| file.metadata())
    }

    /// The index; whoever maps it opens the file too.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Never closes the files from here on.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// How many writes a sync covers that begins now.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Something was written.
    pub(super) fn note_write(&self) {
        self.writes.fetch_add(1, Ordering::Release);
    }

    /// So many writes are on the disk.
    pub(super) fn note_synced(&self, writes: u64) {
        self.synced.fetch_max(writes, Ordering::Release);
    }
}

impl Closable for SegmentFiles {
    fn mark(&self) -> &UseMark {
        &self.mark
    }

    fn close(&self) -> bool {
        let Ok(mut slot) = self.file.try_write() else { return false };
        // One that a writer or a walk holds would not go, and be opened a second time.
        let is_held = slot.as_mut().is_some_and(|file| Arc::get_mut(file).is_none());
        let is_dirty = || self.synced.load(Ordering::Acquire) < self.writes();
        if is_held || is_dirty() || self.kept.load(Ordering::Acquire) || !self.index.close() {
            return false;
        }
        *slot = None;
        true
    }
}

/// A segment's file while it is written to.
pub(super) struct FileToWrite {
    file: Arc<File>,
    files: Arc<SegmentFiles>,
}

impl Deref for FileToWrite {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for FileToWrite {
    fn drop(&mut self) {
        // Before the file is let go, so that it is not closed in between.
        self.files.note_write();
    }
}
