//! What can go wrong with a stable store.

use std::io;
use std::path::{Path, PathBuf};

use crate::storage::error::is_full;

/// An error of a [`super::StableStore`].
#[derive(Debug, thiserror::Error)]
pub enum StableError {
    /// The operating system refused an operation.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// A write or a sync failed earlier: nothing is written any more.
    #[error("nothing is written to {path} since an earlier write or sync failed")]
    Failed {
        /// The store's folder.
        path: PathBuf,
    },
}

impl StableError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether the disk is full.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

impl From<StableError> for io::Error {
    fn from(error: StableError) -> Self {
        let kind = match &error {
            StableError::Io { source, .. } => source.kind(),
            StableError::Failed { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
