//! Space that is set aside to free space with: on a disk without a free byte even a purge, which
//! writes a snapshot first, needs a few kilobytes.
//!
//! ```text
//! file `ballast` in the data folder:  │ for whatever the node needs │ only to free space │
//!                                     0 MiB ◄── given up from the end ──  1 MiB       2 MiB
//!                                                                       (made whole when there is room)
//! ```
//! **Invariant:** nothing depends on it being there: a node that cannot make it goes without.
//! Deliberately elsewhere: when there is room ([`DiskSpace`](super::DiskSpace)).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::disk::{Disk, SystemDisk};
use super::locks::lock;

const FILE_NAME: &str = "ballast";
/// Bytes of the whole file, all of which has blocks.
pub(super) const BALLAST_BYTES: u64 = 2 << 20;
/// What is left of it for purges and deletions when everything else had its part.
const KEPT_TO_FREE: u64 = BALLAST_BYTES / 2;
/// Given up at a time: what is free anybody may take, so it is no more than is needed.
const PIECE_BYTES: u64 = 64 << 10;

/// What space is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To go on, or to start, with what is not records.
    GoOn,
    /// To free space.
    Free,
}

/// The ballast of a data folder.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    /// Its bytes now; `None` once the file system has turned out not to hold one.
    held: Mutex<Option<u64>>,
}

impl Ballast {
    /// The one in `dir`, as the last process left it.
    pub(super) fn of(dir: &Path) -> Self {
        let path = dir.join(FILE_NAME);
        let held = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Self { path, held: Mutex::new(Some(held)) }
    }

    /// Gives up a piece; false when there is nothing left for this need.
    pub(super) fn give(&self, need: Need) -> bool {
        let mut held = lock(&self.held);
        let kept = if need == Need::Free { 0 } else { KEPT_TO_FREE };
        let Some(before) = held.filter(|held| *held > kept) else { return false };
        let left = before.saturating_sub(PIECE_BYTES).max(kept);
        match self.cut(left) {
            Ok(()) => {
                tracing::warn!(left_kib = left >> 10, ?need, "the disk is full: ballast given up");
                *held = Some(left);
                true
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "ballast cannot be given up");
                false
            }
        }
    }

    fn cut(&self, left: u64) -> io::Result<()> {
        SystemDisk.set_len(&SystemDisk.open_or_create(&self.path)?, left)
    }

    /// Takes back, piece by piece, what was given up and turned out not to be needed: as far as there is
    /// room, and `room` at most.
    pub(super) fn take_back(&self, room: u64) {
        let mut held = lock(&self.held);
        let upto = held.map_or(0, |held| held.saturating_add(room));
        while let Some(bytes) = held.filter(|bytes| *bytes < BALLAST_BYTES) {
            let more = (bytes + PIECE_BYTES).min(BALLAST_BYTES);
            if more > upto {
                return;
            }
            if let Err(error) = self.grow(more) {
                tracing::debug!(%error, held_kib = bytes >> 10, "no more ballast is taken back");
                return;
            }
            *held = Some(more);
        }
    }

    /// Makes it whole; there is room.
    pub(super) fn fill(&self) {
        let mut held = lock(&self.held);
        if held.is_none_or(|held| held == BALLAST_BYTES) {
            return;
        }
        match self.grow(BALLAST_BYTES) {
            Ok(()) => *held = Some(BALLAST_BYTES),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(%error, path = %self.path.display(), "no ballast is set aside");
                *held = None;
            }
            Err(error) => tracing::debug!(%error, "no ballast is set aside now"),
        }
    }

    fn grow(&self, bytes: u64) -> io::Result<()> {
        let file = SystemDisk.open_or_create(&self.path)?;
        SystemDisk.allocate(&file, 0, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_goes_by_pieces_of_which_the_last_are_kept_to_free_space() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(dir.path());
        assert!(!ballast.give(Need::Free), "nothing was set aside yet");
        ballast.fill();
        let metadata = || std::fs::metadata(dir.path().join(FILE_NAME)).unwrap();
        assert!(metadata().blocks() * 512 >= BALLAST_BYTES);
        assert!(ballast.give(Need::GoOn));
        assert_eq!(metadata().len(), BALLAST_BYTES - PIECE_BYTES);
        while ballast.give(Need::GoOn) {}
        assert_eq!(metadata().len(), KEPT_TO_FREE);
        // The next process finds what this one left.
        let ballast = Ballast::of(dir.path());
        assert!(!ballast.give(Need::GoOn) && ballast.give(Need::Free));
        while ballast.give(Need::Free) {}
        assert_eq!(metadata().len(), 0);
        ballast.take_back(PIECE_BYTES + 1);
        assert_eq!(metadata().len(), PIECE_BYTES);
        ballast.take_back(u64::MAX);
        assert_eq!(metadata().len(), BALLAST_BYTES);
        ballast.give(Need::Free);
        ballast.fill();
        assert_eq!(metadata().len(), BALLAST_BYTES);
    }
}
