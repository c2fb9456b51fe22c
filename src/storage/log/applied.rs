//! The small file beside a log that says what its applied entries amounted to; opaque here.
//!
//! It spares a start to go over the whole log again. It is replaced as a whole and not synced: a machine
//! that stops may leave an older one, none, or one that holds anything, and a log that ends before it.
//! Whoever reads it checks it, and goes over the log where it is of no use.
//!
//! **Invariant:** it is not written once the log is closed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::storage::durable_file::temporary;
use crate::storage::locks::lock;

use super::{Inner, Log};

const FILE_NAME: &str = "applied";

/// What is to be written.
#[derive(Default)]
pub(super) struct Applied {
    next: Mutex<Option<Bytes>>,
    /// Held while the file is written; whether the log is closed.
    writing: Mutex<bool>,
}

impl Log {
    /// Keeps `contents` beside the log, in place of what was kept there: soon, or when the log is
    /// closed. Where that fails, what was kept stays.
    pub fn keep_applied(&self, contents: Bytes) {
        let inner = &self.0;
        if lock(&inner.applied.next).replace(contents).is_some() {
            // Asked for already.
            return;
        }
        let log = Arc::downgrade(inner);
        let asked = inner.storage.background.run(move || {
            if let Some(log) = log.upgrade() {
                log.write_applied(&mut lock(&log.applied.writing));
            }
        });
        if let Err(error) = asked {
            tracing::warn!(%error, "what is applied is kept when the log is closed");
        }
    }

    /// What is kept beside the log; `None` if nothing is that could be read.
    #[must_use]
    pub fn read_applied(&self) -> Option<Vec<u8>> {
        let path = self.0.dir.join(FILE_NAME);
        self.0.storage.open_files.open(|| std::fs::read(&path)).ok()
    }
}

impl Inner {
    /// The log is about to be closed: writes what is to be kept, and nothing later.
    pub(super) fn stop_keeping_applied(&self) {
        let mut closed = lock(&self.applied.writing);
        self.write_applied(&mut closed);
        *closed = true;
    }

    fn write_applied(&self, closed: &mut bool) {
        let Some(contents) = lock(&self.applied.next).take().filter(|_| !*closed) else { return };
        let (path, disk) = (self.dir.join(FILE_NAME), &*self.storage.disk);
        let temporary = temporary(&path);
        let written = disk
            .create(&temporary)
            .and_then(|file| disk.write_bytes_at(&file, &contents, 0))
            .and_then(|()| disk.rename(&temporary, &path));
        if let Err(error) = written {
            // A full disk, say: the next start takes longer.
            tracing::debug!(%error, dir = %self.dir.display(), "what is applied is not kept");
        }
    }

    /// Whether nothing is about to be written.
    #[cfg(test)]
    pub(super) fn has_kept_applied(&self) -> bool {
        lock(&self.applied.next).is_none() && self.applied.writing.try_lock().is_ok()
    }
}
