//! Where a log begins after a purge or a reset.
//!
//! `retained`: two slots of 512 bytes, written in turn and durably before anything is deleted. The one
//! with the higher sequence number counts; one that is neither empty nor sound is damage. Its space is there before it is needed, so that a purge
//! works on a full disk. A slot, big-endian, the rest zero:
//! ```text
//!  0  magic "JDRT"   4 bytes
//!  4  version        u32   1
//!  8  sequence       u64   1 for the first mark; its parity picks the slot
//! 16  purged term    u64   of the last entry that is gone
//! 24  purged index   u64
//! 32  start offset   i64   the first offset that is retained
//! 40  flags          u32   1 = a reset is under way: every segment is to be deleted
//! 44  crc            u32   CRC-32C of bytes 0–43
//! ```
//! **Invariant:** what it says is gone is never returned again, whether or not its file still is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::Disk;
use super::frame::take;
use super::{EntryId, LogError};
use crate::model::Offset;

const FILE_NAME: &str = "retained";
const SLOT_BYTES: usize = 512;
const FILE_BYTES: usize = 2 * SLOT_BYTES;
const BYTES: usize = 48;
const MAGIC: &[u8; 4] = b"JDRT";
const VERSION: u32 = 1;
const RESETTING: u32 = 1;

/// The beginning of a log that does not begin at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retained {
    pub(super) purged: EntryId,
    pub(super) start_offset: Offset,
    pub(super) resetting: bool,
}

impl Retained {
    /// What `dir` says; `None` when nothing was ever purged.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, LogError> {
        let path = dir.join(FILE_NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(LogError::io("read", path)(e)),
        };
        for (at, slot) in bytes.chunks(SLOT_BYTES).enumerate() {
            // A sector is written whole, so no unfinished write looks so; and the other slot may speak
            // of a reset that ended long ago.
            if Self::decode(slot).is_none() && slot.iter().any(|b| *b != 0) {
                let (position, what) = ((at * SLOT_BYTES) as u64, "a slot without a sound CRC");
                return Err(LogError::Corrupt { path, position, what: what.to_owned() });
            }
        }
        Ok(newest(&bytes).map(|(_, retained)| retained))
    }

    /// Makes room for marks, so that writing one needs no space. Whether that was to be done: then the
    /// folder is to be synced before a mark counts.
    pub(super) fn reserve(dir: &Path, disk: &dyn Disk) -> io::Result<bool> {
        reserve(&disk.open_or_create(&dir.join(FILE_NAME))?, disk)
    }

    /// Writes the mark; on disk when this returns.
    pub(super) fn write(&self, dir: &Path, disk: &dyn Disk) -> io::Result<()> {
        let file = open(dir, disk)?;
        let mut bytes = vec![0; FILE_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        let sequence = newest(&bytes).map_or(1, |(sequence, _)| sequence + 1);
        let slot = (sequence % 2) * SLOT_BYTES as u64;
        disk.write_bytes_at(&file, &self.encode(sequence), slot)?;
        disk.sync_data(&file)
    }

    /// Writes the newest mark in `dir` once more, for the next sync of the file: the process that made
    /// it may have ended because its sync failed, after which the system takes it for written.
    pub(super) fn write_again(dir: &Path, disk: &dyn Disk) -> io::Result<File> {
        let file = open(dir, disk)?;
        let mut bytes = vec![0; FILE_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        if let Some((sequence, mark)) = newest(&bytes) {
            let slot = (sequence % 2) * SLOT_BYTES as u64;
            disk.write_bytes_at(&file, &mark.encode(sequence), slot)?;
        }
        Ok(file)
    }

    fn encode(&self, sequence: u64) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_be_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.purged.term.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.purged.index.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.start_offset.0.to_be_bytes());
        bytes[40..44].copy_from_slice(&(if self.resetting { RESETTING } else { 0 }).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..44]);
        bytes[44..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let sound = bytes.len() >= BYTES
            && &bytes[..4] == MAGIC
            && u32::from_be_bytes(take(bytes, 4)) == VERSION
            && u32::from_be_bytes(take(bytes, 44)) == crc32c::crc32c(&bytes[..44]);
        let retained = || Self {
            purged: EntryId {
                term: u64::from_be_bytes(take(bytes, 16)),
                index: u64::from_be_bytes(take(bytes, 24)),
            },
            start_offset: Offset(i64::from_be_bytes(take(bytes, 32))),
            resetting: u32::from_be_bytes(take(bytes, 40)) & RESETTING != 0,
        };
        sound.then(|| (u64::from_be_bytes(take(bytes, 8)), retained()))
    }
}

fn newest(bytes: &[u8]) -> Option<(u64, Retained)> {
    bytes.chunks(SLOT_BYTES).filter_map(Retained::decode).max_by_key(|(sequence, _)| *sequence)
}

/// Whether it had to fill the file.
fn reserve(file: &File, disk: &dyn Disk) -> io::Result<bool> {
    let is_short = is_short(file)?;
    if is_short {
        disk.write_bytes_at(file, &[0; FILE_BYTES], 0)?;
    }
    Ok(is_short)
}

fn is_short(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.len() < FILE_BYTES as u64)
}

/// Opens the file, made with both slots empty if it was not there.
fn open(dir: &Path, disk: &dyn Disk) -> io::Result<File> {
    let file = disk.open_or_create(&dir.join(FILE_NAME))?;
    if is_short(&file)? {
        // First, since it can lack a descriptor and be tried again: one that is filled has its name on the disk.
        disk.sync_dir(dir)?;
        reserve(&file, disk)?;
        disk.sync_data(&file)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SystemDisk;

    #[test]
    fn the_newest_sound_mark_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Retained::read(dir.path()).unwrap(), None);
        Retained::reserve(dir.path(), &SystemDisk).unwrap();
        assert_eq!(Retained::read(dir.path()).unwrap(), None);
        let mark = |index| Retained {
            purged: EntryId::new(3, index),
            start_offset: Offset(index as i64 * 10),
            resetting: index % 2 == 1,
        };
        for index in 1..6 {
            mark(index).write(dir.path(), &SystemDisk).unwrap();
            assert_eq!(Retained::read(dir.path()).unwrap(), Some(mark(index)));
        }
        // Of a damaged slot nobody knows what it said.
        let path = dir.path().join(FILE_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        for at in [20, SLOT_BYTES + 20] {
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(Retained::read(dir.path()), Err(LogError::Corrupt { .. })));
            bytes[at] ^= 1;
        }
    }
}
