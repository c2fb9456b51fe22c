//! What can go wrong with the key-value store.
//!
//! **Invariant:** sled's error types do not leave this room.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a [`super::Kv`]. The text is one sentence that an operator can act on.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// Another process (or this one, twice) has it open.
    #[error("{dir} is open in another process: stop it first")]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// Its files are not what was written.
    #[error(
        "{dir} is damaged ({what}): move it away and start again. It is a copy of the metadata and is \
         made again from the metadata log, on a cluster from the other nodes; where neither has it all, \
         the start says so and changes nothing"
    )]
    Damaged {
        /// The store's folder.
        dir: PathBuf,
        /// What sled says.
        what: String,
    },
    /// The operating system refused an operation.
    #[error("cannot use {dir}: {source}")]
    Io {
        /// The store's folder.
        dir: PathBuf,
        /// Its reason.
        #[source]
        source: io::Error,
    },
}

impl KvError {
    pub(super) fn from_sled(dir: &Path, error: sled::Error) -> Self {
        let dir = dir.to_owned();
        match error {
            // sled gives the failed lock no kind of its own.
            sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => {
                Self::Locked { dir }
            }
            sled::Error::Io(source) => Self::Io { dir, source },
            other => Self::Damaged { dir, what: other.to_string() },
        }
    }
}

impl From<KvError> for io::Error {
    fn from(error: KvError) -> Self {
        let kind = match &error {
            KvError::Locked { .. } => io::ErrorKind::ResourceBusy,
            KvError::Damaged { .. } => io::ErrorKind::InvalidData,
            KvError::Io { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}
