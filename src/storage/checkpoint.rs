//! The recovery point: how far a log is known to be on disk.
//!
//! `checkpoint`, 64 bytes, big-endian, overwritten in place after each sync and not itself synced (a
//! stale one only makes recovery check more; a sector is written whole):
//! ```text
//!  0  magic "JDCP"           4 bytes
//!  4  version                u32   1
//!  8  segment's first index  u64
//! 16  position               u64   bytes of that segment that are durable
//! 24  next index             u64
//! 32  next offset            i64
//! 40  flags                  u32   1 = closed cleanly
//! 44  reserved               16 bytes, zero
//! 60  crc                    u32   CRC-32C of bytes 0–59
//! ```
//! **Invariant:** it never says more than what is durable; it is lowered, durably, before a truncation.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::frame::take;
use crate::model::Offset;

const FILE_NAME: &str = "checkpoint";
const BYTES: usize = 64;
const MAGIC: &[u8; 4] = b"JDCP";
const VERSION: u32 = 1;
const CLEAN: u32 = 1;

/// A recovery point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) next_index: u64,
    pub(super) next_offset: Offset,
    pub(super) clean: bool,
}

/// The file.
pub(super) struct CheckpointFile {
    path: PathBuf,
    /// The largest next index that the disk may hold, whatever the file says now; `None` until this
    /// process has synced it once.
    at_most: Option<u64>,
}

impl CheckpointFile {
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE_NAME), at_most: None }
    }

    /// Forgets it: the segments that it speaks of are gone.
    pub(super) fn remove(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&dir.join(FILE_NAME))
    }

    /// The stored recovery point; `None` without a sound one.
    pub(super) fn read(&self) -> io::Result<Option<Checkpoint>> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Checkpoint::decode(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether the disk may hold one that speaks of the entry at `next_index` or of later ones. What
    /// another process wrote says nothing about it: a sync of that one may have failed.
    pub(super) fn may_say_more_than(&self, next_index: u64) -> bool {
        match self.at_most {
            Some(most) => most > next_index,
            None => self.path.exists(),
        }
    }

    /// Overwrites it.
    pub(super) fn write(&mut self, checkpoint: &Checkpoint, disk: &dyn Disk) -> io::Result<()> {
        // Opened each time: thousands of logs write theirs every few seconds at most.
        self.write_through(checkpoint, disk).map(drop)
    }

    /// Overwrites it; on disk when this returns.
    pub(super) fn write_durably(
        &mut self,
        checkpoint: &Checkpoint,
        disk: &dyn Disk,
    ) -> io::Result<()> {
        let file = self.write_through(checkpoint, disk)?;
        disk.sync_data(&file)?;
        self.at_most = Some(checkpoint.next_index);
        Ok(())
    }

    fn write_through(&mut self, checkpoint: &Checkpoint, disk: &dyn Disk) -> io::Result<File> {
        self.at_most = self.at_most.map(|most| most.max(checkpoint.next_index));
        let file = disk.open_or_create(&self.path)?;
        disk.write_bytes_at(&file, &checkpoint.encode(), 0)?;
        Ok(file)
    }
}

impl Checkpoint {
    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.segment.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.next_index.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.next_offset.0.to_be_bytes());
        bytes[40..44].copy_from_slice(&(if self.clean { CLEAN } else { 0 }).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let sound = bytes.len() == BYTES
            && &bytes[..4] == MAGIC
            && u32::from_be_bytes(take(bytes, 4)) == VERSION
            && u32::from_be_bytes(take(bytes, 60)) == crc32c::crc32c(&bytes[..60]);
        sound.then(|| Self {
            segment: u64::from_be_bytes(take(bytes, 8)),
            position: u64::from_be_bytes(take(bytes, 16)),
            next_index: u64::from_be_bytes(take(bytes, 24)),
            next_offset: Offset(i64::from_be_bytes(take(bytes, 32))),
            clean: u32::from_be_bytes(take(bytes, 40)) & CLEAN != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_a_damaged_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = CheckpointFile::new(dir.path());
        assert_eq!(file.read().unwrap(), None);
        let checkpoint = Checkpoint {
            segment: 3,
            position: 4096,
            next_index: 77,
            next_offset: Offset(1234),
            clean: true,
        };
        file.write_durably(&checkpoint, &crate::storage::SystemDisk).unwrap();
        assert_eq!(file.read().unwrap(), Some(checkpoint));
        let mut bytes = checkpoint.encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
