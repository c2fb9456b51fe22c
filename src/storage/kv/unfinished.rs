//! What a killed process left of a snapshot that it had begun.
//!
//! sled writes a snapshot under another name first. When it opens, it takes a file with that name for a
//! snapshot all the same, the newest, and finds it damaged.

use std::io;
use std::path::Path;

use crate::storage::Disk;

/// Endings of the names that snapshots have until they are whole.
const UNFINISHED: [&str; 2] = [".generating", ".in___motion"];

/// Removes unfinished snapshots from the store's folder, which sled has not opened yet. The snapshot
/// before is still there, or sled's log from its beginning.
pub(super) fn remove(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && UNFINISHED.iter().any(|ending| name.ends_with(ending)) {
            tracing::info!(path = %path.display(), "an unfinished snapshot is removed");
            disk.remove(&path)?;
        }
    }
    Ok(())
}
