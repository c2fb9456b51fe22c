//! A small ordered key-value store for state that can be got back: the copy of the metadata.
//!
//! It is sled 0.34, named nowhere else. Where its file is damaged it may go back to an older state without
//! saying so; what must not be forgotten is kept in a [`StableStore`](super::StableStore). Four things
//! about it are ours:
//! - **Durability.** On Linux sled's `flush` ends in `sync_file_range(2)`, which neither flushes the
//!   drive's cache nor writes the file's size. Every flush here is followed by `fdatasync(2)`.
//! - **Room.** A write that sled could not do ends it, and with it the node. So its file has blocks beyond
//!   its end, for when the disk is full.
//! - **Group commit.** Commits that arrive during a flush share the next one.
//! - **Starts.** What a start that was killed left unfinished is removed, and a start on a full disk gets
//!   the little room that it needs.
//!
//! **Invariant:** a commit is readable when `commit` returns and on disk when its [`Durable`] resolves.
//! **Invariant:** a batch is applied as a whole or not at all, in one tree. State that must change
//! together lives in one tree, under prefixed keys.

mod error;
mod tree;
mod unfinished;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
pub use error::KvError;
use rustix::fs::FallocateFlags;
pub use tree::{Batch, Tree};

use super::ballast::Need;
use super::durable::Durable;
use super::error::is_full;
use super::locks::lock;
use super::syncer::{SyncTarget, SyncTicket};
use super::{Disk as _, Storage, SystemDisk};

/// sled's page cache, bytes: its state is small, and is kept decoded by its users.
const CACHE_BYTES: u64 = 1 << 20;
/// sled's log segment, bytes. A quarter of it is the largest page that sled does not put into a file
/// of its own, so smaller is slower; an open store costs about 1 MiB of memory with it.
const SEGMENT_BYTES: usize = 512 << 10;

/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;
/// Blocks that the file has beyond its end, bytes: two of sled's segments.
const AHEAD_BYTES: u64 = 2 * SEGMENT_BYTES as u64;

/// The store. Clone shares it; the folder is locked until the last clone is gone.
#[derive(Clone)]
pub struct Kv {
    inner: Arc<Inner>,
    flush: Arc<Flush>,
}

/// The store as the sync threads see it. They let go of it before they tell those who waited, so
/// that whoever was told can open it again.
#[derive(Default)]
struct Flush {
    wanted: Mutex<Option<Arc<Inner>>>,
    ticket: SyncTicket,
    /// A flush failed: none is tried again.
    failed: AtomicBool,
}

struct Inner {
    dir: PathBuf,
    db: sled::Db,
    /// sled's file, for the `fdatasync` that it leaves out.
    file: File,
    storage: Storage,
}

impl Kv {
    /// Opens or makes the store in `dir`. Takes a few milliseconds on an empty folder.
    ///
    /// # Errors
    /// [`KvError::Locked`] when another process has it open; [`KvError::Damaged`]; [`KvError::Io`].
    pub fn open(dir: &Path, storage: &Storage) -> Result<Self, KvError> {
        let db = open_with_room(dir, storage)?;
        let io = |source| KvError::Io { dir: dir.to_owned(), source };
        let file = SystemDisk.open_or_create(&dir.join("db")).map_err(io)?;
        let inner = Inner { dir: dir.to_owned(), db, file, storage: storage.clone() };
        inner.sync_names().map_err(io)?;
        inner.take_room();
        Ok(Self { inner: Arc::new(inner), flush: Arc::default() })
    }

    /// Takes the room that writes will need; to be called now and then, since not every write is
    /// flushed. Costs a microsecond where it is there.
    pub fn take_room(&self) {
        self.inner.take_room();
    }

    /// The tree called `name`, made if it is not there.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn tree(&self, name: &str) -> Result<Tree, KvError> {
        let tree =
            self.inner.db.open_tree(name).map_err(|e| KvError::from_sled(&self.inner.dir, e))?;
        Ok(Tree::new(tree, self.inner.dir.clone()))
    }

    /// Every pair of the tree called `name`, which an older version used; `None` if it is not there.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn old_tree(&self, name: &str) -> Result<Option<Vec<(Bytes, Bytes)>>, KvError> {
        if !self.inner.db.tree_names().iter().any(|known| known == name.as_bytes()) {
            return Ok(None);
        }
        self.tree(name)?.iter().collect::<Result<_, _>>().map(Some)
    }

    /// Removes the tree called `name`, if it is there; on disk when this returns.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn remove_tree(&self, name: &str) -> Result<(), KvError> {
        let removed = self.inner.db.drop_tree(name);
        removed.map_err(|error| KvError::from_sled(&self.inner.dir, error))?;
        self.flush()
    }

    /// Applies `batch` to `tree` and resolves when it is on disk, with all that was applied before it.
    ///
    /// # Errors
    /// Of the file system, or damage: nothing was applied.
    pub fn commit(&self, tree: &Tree, batch: Batch) -> Result<Durable, KvError> {
        tree.apply(batch)?;
        Ok(self.durable())
    }

    /// Resolves when all that was applied before is on disk. Callers share flushes.
    pub fn durable(&self) -> Durable {
        let (durable, done) = Durable::new();
        *lock(&self.flush.wanted) = Some(Arc::clone(&self.inner));
        let target: Arc<Flush> = Arc::clone(&self.flush);
        self.inner.storage.syncer.ask(target, done);
        durable
    }

    /// Puts all that was applied before on disk, in this thread.
    ///
    /// # Errors
    /// Of the file system (the process ends before, unless a test's hook returns).
    pub fn flush(&self) -> Result<(), KvError> {
        self.flush
            .run(&self.inner)
            .map_err(|source| KvError::Io { dir: self.inner.dir.clone(), source })
    }
}

/// Opens sled's database, which then writes a snapshot.
fn open_with_room(dir: &Path, storage: &Storage) -> Result<sled::Db, KvError> {
    let mut given = 0;
    let db = loop {
        match open_db(dir, storage) {
            Err(KvError::Io { source, .. })
                if is_full(&source) && storage.space.give(Need::GoOn) =>
            {
                given += 1;
            }
            opened => break opened,
        }
    };
    if given > 0 {
        // The snapshot before this one is gone, and left as much.
        storage.space.take_back();
    }
    db
}

fn open_db(dir: &Path, storage: &Storage) -> Result<sled::Db, KvError> {
    let io = |source| KvError::Io { dir: dir.to_owned(), source };
    unfinished::remove(dir, &*storage.disk).map_err(io)?;
    sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .segment_size(SEGMENT_BYTES)
        .mode(sled::Mode::LowSpace)
        // Nothing is flushed behind our back: commits do it, and only they promise anything.
        .flush_every_ms(None)
        .open()
        .map_err(|error| KvError::from_sled(dir, error))
}

impl Flush {
    fn run(&self, inner: &Inner) -> io::Result<()> {
        self.check()?;
        inner.flush_once().inspect_err(|error| {
            self.failed.store(true, Ordering::Release);
            (inner.storage.fatal)(&format!("flush {}", inner.dir.display()), error);
        })
    }

    fn check(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier flush failed"));
        }
        Ok(())
    }
}

impl Inner {
    fn flush_once(&self) -> io::Result<()> {
        self.db.flush().map_err(io::Error::from)?;
        self.storage.disk.sync_data(&self.file)?;
        // Values too large for a segment go to files of their own, which sled does not sync at all.
        if std::fs::read_dir(self.dir.join("blobs"))?.next().is_some() {
            rustix::fs::syncfs(&self.file)?;
        }
        self.take_room();
        Ok(())
    }

    /// Where there is none, the file goes without: it may have enough.
    fn take_room(&self) {
        while let Err(error) = self.allocate_ahead() {
            if !is_full(&error) || !self.storage.space.give(Need::GoOn) {
                tracing::debug!(%error, dir = %self.dir.display(), "no room is taken ahead");
                return;
            }
        }
    }

    fn allocate_ahead(&self) -> io::Result<()> {
        let found = self.file.metadata()?;
        if found.blocks() * BLOCK_BYTES >= found.len() + AHEAD_BYTES / 2 {
            return Ok(());
        }
        let upto = found.len() + AHEAD_BYTES;
        // sled knows its file's length, which so stays as it is.
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, upto)?)
    }

    /// Makes the names of sled's files and of the folder durable.
    fn sync_names(&self) -> io::Result<()> {
        self.storage.disk.sync_dir(&self.dir)?;
        match self.dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            Some(parent) => self.storage.disk.sync_dir(parent),
            None => Ok(()),
        }
    }
}

impl SyncTarget for Flush {
    fn ticket(&self) -> &SyncTicket {
        &self.ticket
    }

    fn sync_now(&self) -> io::Result<()> {
        let inner = lock(&self.wanted).take();
        match inner {
            Some(inner) => self.run(&inner),
            // The round before began its flush after this request was made.
            None => self.check(),
        }
    }
}

#[cfg(test)]
mod tests;
