//! Small files that are replaced as a whole.
//!
//! **Invariant:** after a crash such a file holds the old or the new contents, never a mixture.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;

/// What a file is called until it is complete; left-overs are removed on opening.
pub(super) const TEMPORARY: &str = "tmp";

/// The name that `path` has until it is complete.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

/// Puts `contents` at `path`; on disk when this returns.
pub(super) fn replace_file(path: &Path, contents: &[u8], disk: &dyn Disk) -> io::Result<()> {
    let temporary = temporary(path);
    let file = disk.create(&temporary)?;
    disk.write_bytes_at(&file, contents, 0)?;
    disk.sync_data(&file)?;
    disk.rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}
