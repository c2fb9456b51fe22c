//! What lies under a [`Kv`](super::Kv): an ordered key-value store with named trees.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Change, KvError};
use crate::storage::Storage;

/// Pairs in key order.
pub type Pairs = Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), KvError>>>;

/// Opens stores.
pub trait OpenStore: Send + Sync {
    /// Opens or makes the store in `dir`.
    ///
    /// # Errors
    /// As [`Kv::open`](super::Kv::open).
    fn open(&self, dir: &Path, storage: &Storage) -> Result<Box<dyn Store>, KvError>;
}

/// An open store.
pub trait Store: Send + Sync {
    /// The tree called `name`, made if it is not there.
    ///
    /// # Errors
    /// Of the file system, or damage.
    fn tree(&self, name: &str) -> Result<Arc<dyn StoreTree>, KvError>;

    /// Whether there is a tree called `name`.
    fn has_tree(&self, name: &str) -> bool;

    /// Removes the tree called `name`, if it is there.
    ///
    /// # Errors
    /// Of the file system, or damage.
    fn remove_tree(&self, name: &str) -> Result<(), KvError>;

    /// Puts all that was applied before on disk.
    ///
    /// # Errors
    /// Of the file system.
    fn flush(&self) -> io::Result<()>;

    /// Takes the room that writes will need, as far as there is any.
    fn take_room(&self) {}
}

/// A tree of a store.
pub trait StoreTree: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// Of the file system, or damage.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Applies `changes` in this order, as a whole.
    ///
    /// # Errors
    /// Of the file system, or damage.
    fn apply(&self, changes: Vec<Change>) -> Result<(), KvError>;

    /// Every pair whose key begins with `prefix`.
    fn scan(&self, prefix: &[u8]) -> Pairs;

    /// Removes everything. Not atomic: a crash may leave some.
    ///
    /// # Errors
    /// Of the file system, or damage.
    fn clear(&self) -> Result<(), KvError>;

    /// Whether it holds nothing.
    fn is_empty(&self) -> bool;
}
