//! A small ordered key-value store for state that can be got back: the copy of the metadata.
//!
//! It is sled 0.34, named nowhere but in `sled_store`. Where its file is damaged it may go back to an older state without
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
mod sled_store;
mod store;
mod tree;
mod unfinished;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
pub use error::KvError;
pub use sled_store::SledStore;
pub use store::{OpenStore, Pairs, Store, StoreTree};
pub use tree::{Batch, Change, Tree};

use super::Storage;
use super::durable::Durable;
use super::locks::lock;
use super::syncer::{Ended, SyncTarget, SyncTicket};

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
    store: Box<dyn Store>,
    storage: Storage,
}

impl Kv {
    /// Opens or makes the store in `dir`. Takes a few milliseconds on an empty folder.
    ///
    /// # Errors
    /// [`KvError::Locked`] when another process has it open; [`KvError::Damaged`]; [`KvError::Io`].
    pub fn open(dir: &Path, storage: &Storage) -> Result<Self, KvError> {
        let store = storage.store.open(dir, storage)?;
        let inner = Inner { dir: dir.to_owned(), store, storage: storage.clone() };
        Ok(Self { inner: Arc::new(inner), flush: Arc::default() })
    }

    /// As [`open`](Self::open), where this process had the store open before: a task of sled's that is late may hold
    /// its file a moment longer, or a process that another test begins until it is another program.
    #[cfg(test)]
    pub(crate) fn reopen(dir: &Path, storage: &Storage) -> Self {
        let begun = std::time::Instant::now();
        loop {
            match Self::open(dir, storage) {
                Err(KvError::Locked { .. }) if begun.elapsed().as_secs() < 20 => {
                    std::thread::yield_now();
                }
                opened => return opened.unwrap(),
            }
        }
    }

    /// Takes the room that writes will need; to be called now and then, since not every write is
    /// flushed. Costs a microsecond where it is there.
    pub fn take_room(&self) {
        self.inner.store.take_room();
    }

    /// The tree called `name`, made if it is not there.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn tree(&self, name: &str) -> Result<Tree, KvError> {
        Ok(Tree::new(self.inner.store.tree(name)?))
    }

    /// Every pair of the tree called `name`, which an older version used; `None` if it is not there.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn old_tree(&self, name: &str) -> Result<Option<Vec<(Bytes, Bytes)>>, KvError> {
        if !self.inner.store.has_tree(name) {
            return Ok(None);
        }
        self.tree(name)?.iter().collect::<Result<_, _>>().map(Some)
    }

    /// Removes the tree called `name`, if it is there; on disk when this returns.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn remove_tree(&self, name: &str) -> Result<(), KvError> {
        self.inner.store.remove_tree(name)?;
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

impl Flush {
    fn run(&self, inner: &Inner) -> io::Result<()> {
        self.check()?;
        inner.store.flush().inspect_err(|error| {
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

impl SyncTarget for Flush {
    fn ticket(&self) -> &SyncTicket {
        &self.ticket
    }

    fn sync_now(&self) -> Ended {
        let inner = lock(&self.wanted).take();
        Some(match inner {
            Some(inner) => self.run(&inner),
            // The round before began its flush after this request was made.
            None => self.check(),
        })
    }
}

#[cfg(test)]
mod tests;
