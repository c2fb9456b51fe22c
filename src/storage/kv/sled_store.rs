//! sled, with the durability and the room that it does not see to itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::FallocateFlags;
use sled::IVec;

use super::store::{OpenStore, Pairs, Store, StoreTree};
use super::{Change, KvError, unfinished};
use crate::storage::ballast::Need;
use crate::storage::error::is_full;
use crate::storage::{Disk as _, Storage, SystemDisk};

/// sled's page cache, bytes: its state is small, and is kept decoded by its users.
const CACHE_BYTES: u64 = 1 << 20;
/// sled's log segment, bytes. A quarter of it is the largest page that sled does not put into a file
/// of its own, so smaller is slower; an open store costs about 1 MiB of memory with it.
const SEGMENT_BYTES: usize = 512 << 10;

/// What `st_blocks` counts in.
pub(super) const BLOCK_BYTES: u64 = 512;
/// Blocks that the file has beyond its end, bytes: two of sled's segments.
pub(super) const AHEAD_BYTES: u64 = 2 * SEGMENT_BYTES as u64;

/// Opens sled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SledStore;

struct Opened {
    dir: PathBuf,
    db: sled::Db,
    /// sled's file, for the `fdatasync` that it leaves out.
    file: File,
    storage: Storage,
}

struct SledTree {
    tree: sled::Tree,
    dir: PathBuf,
}

impl OpenStore for SledStore {
    fn open(&self, dir: &Path, storage: &Storage) -> Result<Box<dyn Store>, KvError> {
        let db = open_with_room(dir, storage)?;
        let io = |source| KvError::Io { dir: dir.to_owned(), source };
        let file = SystemDisk.open_or_create(&dir.join("db")).map_err(io)?;
        let opened = Opened { dir: dir.to_owned(), db, file, storage: storage.clone() };
        opened.sync_names().map_err(io)?;
        opened.take_room();
        Ok(Box::new(opened))
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

impl Opened {
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

impl Store for Opened {
    fn tree(&self, name: &str) -> Result<Arc<dyn StoreTree>, KvError> {
        let tree = self.db.open_tree(name).map_err(|e| KvError::from_sled(&self.dir, e))?;
        Ok(Arc::new(SledTree { tree, dir: self.dir.clone() }))
    }

    fn has_tree(&self, name: &str) -> bool {
        self.db.tree_names().iter().any(|known| known == name.as_bytes())
    }

    fn remove_tree(&self, name: &str) -> Result<(), KvError> {
        let removed = self.db.drop_tree(name);
        removed.map(drop).map_err(|error| KvError::from_sled(&self.dir, error))
    }

    fn flush(&self) -> io::Result<()> {
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
}

impl SledTree {
    fn fail(&self) -> impl Fn(sled::Error) -> KvError + use<'_> {
        |error| KvError::from_sled(&self.dir, error)
    }
}

impl StoreTree for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let value = self.tree.get(key).map_err(self.fail())?;
        Ok(value.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), KvError> {
        let applied = match &changes[..] {
            // Each of sled's batches writes its buffer to the file twice before it begins.
            [(key, Some(value))] => self.tree.insert(key, &value[..]).map(drop),
            [(key, None)] => self.tree.remove(key).map(drop),
            changes => self.tree.apply_batch(together(changes)),
        };
        applied.map_err(self.fail())
    }

    fn scan(&self, prefix: &[u8]) -> Pairs {
        let dir = self.dir.clone();
        Box::new(self.tree.scan_prefix(prefix).map(move |pair| {
            let (key, value) = pair.map_err(|e| KvError::from_sled(&dir, e))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        }))
    }

    fn clear(&self) -> Result<(), KvError> {
        self.tree.clear().map_err(self.fail())
    }

    fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }
}

fn together(changes: &[Change]) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.insert(IVec::from(&key[..]), IVec::from(&value[..])),
            None => batch.remove(IVec::from(&key[..])),
        }
    }
    batch
}
