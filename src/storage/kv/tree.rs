//! An ordered map in the store.
//!
//! **Invariant:** what is read was applied, durable or not; only [`super::Kv`] makes it durable.

use std::path::PathBuf;

use bytes::Bytes;
use sled::IVec;

use super::KvError;

/// Puts and deletes that are applied together.
#[derive(Clone, Debug, Default)]
pub struct Batch(Vec<Change>);

/// A key, and its value from now on.
type Change = (IVec, Option<IVec>);

impl Batch {
    /// A batch of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.push((key.into(), Some(value.into())));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.push((key.into(), None));
    }
}

/// A tree. Clone shares it.
#[derive(Clone)]
pub struct Tree {
    tree: sled::Tree,
    dir: PathBuf,
}

impl Tree {
    pub(super) fn new(tree: sled::Tree, dir: PathBuf) -> Self {
        Self { tree, dir }
    }

    fn fail(&self) -> impl Fn(sled::Error) -> KvError + use<'_> {
        |error| KvError::from_sled(&self.dir, error)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let value = self.tree.get(key).map_err(self.fail())?;
        Ok(value.map(|v| Bytes::copy_from_slice(&v)))
    }

    /// Applies `batch` as a whole: readable on return, on disk after the store's next flush.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn apply(&self, batch: Batch) -> Result<(), KvError> {
        let applied = match <[Change; 1]>::try_from(batch.0) {
            // Each of sled's batches writes its buffer to the file twice before it begins.
            Ok([(key, Some(value))]) => self.tree.insert(key, value).map(drop),
            Ok([(key, None)]) => self.tree.remove(key).map(drop),
            Err(changes) => self.tree.apply_batch(together(changes)),
        };
        applied.map_err(self.fail())
    }

    /// Every pair whose key begins with `prefix`, in key order.
    pub fn scan(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), KvError>> {
        let dir = self.dir.clone();
        self.tree.scan_prefix(prefix).map(move |pair| {
            let (key, value) = pair.map_err(|e| KvError::from_sled(&dir, e))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        })
    }

    /// Every pair, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), KvError>> {
        self.scan(&[])
    }

    /// Removes everything. Not atomic: a crash may leave some.
    ///
    /// # Errors
    /// Of the file system, or damage.
    pub fn clear(&self) -> Result<(), KvError> {
        self.tree.clear().map_err(self.fail())
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }
}

fn together(changes: Vec<Change>) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    batch
}
