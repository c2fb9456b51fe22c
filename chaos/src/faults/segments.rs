//! The files of a partition on a node that does not run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::Node;

/// Where a node keeps a partition.
pub(super) fn folder(node: &Node, topic: &str, partition: i32) -> PathBuf {
    node.data_dir().join("partitions").join(format!("{topic}-{partition}"))
}

/// The segment that is written to.
///
/// # Errors
/// The folder holds none.
pub(super) fn newest(folder: &Path) -> Result<PathBuf> {
    let segments = files(folder)?.into_iter().filter(|path| has_extension(path, "log"));
    segments.max().with_context(|| format!("{} holds no segment", folder.display()))
}

/// The files of a folder.
///
/// # Errors
/// It cannot be read.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// How much of a segment's bytes is written: behind it are the zeros of preallocated space.
pub(super) fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_segment_has_the_highest_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["00000000000000000000.log", "00000000000000000071.log", "9.index"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        assert!(newest(folder.path()).unwrap().ends_with("00000000000000000071.log"));
        assert_eq!((written(b"ab\0c\0\0"), written(b"\0\0"), written(b"")), (4, 0, 0));
    }
}
