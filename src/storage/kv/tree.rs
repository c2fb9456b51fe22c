//! An ordered map in the store.
//!
//! **Invariant:** what is read was applied, durable or not; only [`super::Kv`] makes it durable.

use std::sync::Arc;

use bytes::Bytes;

use super::KvError;
use super::store::StoreTree;

/// Puts and deletes that are applied together.
#[derive(Clone, Debug, Default)]
pub struct Batch(Vec<Change>);

/// A key, and its value from now on.
pub type Change = (Bytes, Option<Bytes>);

impl Batch {
    /// A batch of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.push((Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value))));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.push((Bytes::copy_from_slice(key), None));
    }
}

/// A tree. Clone shares it.
#[derive(Clone)]
pub struct Tree(Arc<dyn StoreTree>);

impl Tree {
    pub(super) fn new(tree: Arc<dyn StoreTree>) -> Self {
        Self(tree)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.0.get(key)
    }

    /// Applies `batch` as a whole: readable on return, on disk after the store's next flush.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn apply(&self, batch: Batch) -> Result<(), KvError> {
        self.0.apply(batch.0)
    }

    /// Every pair whose key begins with `prefix`, in key order.
    pub fn scan(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), KvError>> + use<> {
        self.0.scan(prefix)
    }

    /// Every pair, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), KvError>> + use<> {
        self.scan(&[])
    }

    /// Removes everything. Not atomic: a crash may leave some.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn clear(&self) -> Result<(), KvError> {
        self.0.clear()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
