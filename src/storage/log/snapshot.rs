//! The small file beside a log that says what its purged entries amounted to; opaque here.
//!
//! **Invariant:** after a crash it holds the old or the new contents, never a mixture.

use std::fs;
use std::io;

use crate::storage::LogError;
use crate::storage::ballast::Need;
use crate::storage::durable_file::replace_file;

use super::{Log, Watched};

const FILE_NAME: &str = "snapshot";

impl Log {
    /// Keeps `contents` beside the log, in place of what was kept there. Durable on return.
    ///
    /// # Errors
    /// [`LogError::Full`]; [`LogError::Io`]. What was kept stays.
    pub fn write_snapshot(&self, contents: &[u8]) -> Result<(), LogError> {
        let inner = &*self.0;
        inner.check_usable()?;
        let path = inner.dir.join(FILE_NAME);
        // Without it nothing is purged.
        inner.storage.space.with_ballast(Need::Free, || {
            replace_file(&path, contents, &Watched(inner))
                .map_err(|error| inner.refused("replace the snapshot in", error))
        })
    }

    /// What is kept beside the log; `None` if nothing was.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn read_snapshot(&self) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.0.dir.join(FILE_NAME);
        match self.0.storage.open_files.open(|| fs::read(&path)) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", path)(error)),
        }
    }
}
