//! How far a log has been compacted.
//!
//! `cleaned`, 20 bytes, big-endian, replaced as a whole:
//! ```text
//!  0  magic "JDCL"   4 bytes
//!  4  version        u32   1
//!  8  clean end      i64   the first offset that no key map has covered yet
//! 16  crc            u32   CRC-32C of bytes 0–15
//! ```
//! **Invariant:** it is written after the segments that it speaks of are in place. Without it, or with a
//! damaged one, the whole log counts as dirty, which costs work and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::model::Offset;
use crate::storage::Disk;
use crate::storage::LogError;
use crate::storage::durable_file::replace_file;
use crate::storage::frame::take;
use crate::storage::locks::lock;
use crate::storage::open_files::is_out_of_files;

const FILE_NAME: &str = "cleaned";
const BYTES: usize = 20;
const MAGIC: &[u8; 4] = b"JDCL";
const VERSION: u32 = 1;

/// The mark, read at first use.
pub(in crate::storage::log) struct CleanMark {
    path: PathBuf,
    known: Mutex<Option<Offset>>,
}

impl CleanMark {
    pub(in crate::storage::log) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE_NAME), known: Mutex::new(None) }
    }

    /// The first dirty offset; 0 where nothing says so.
    pub(super) fn get(&self) -> Offset {
        let mut known = lock(&self.known);
        if let Some(known) = *known {
            return known;
        }
        match std::fs::read(&self.path) {
            // It is looked for again.
            Err(error) if is_out_of_files(&error) => Offset::ZERO,
            read => {
                let marked = decode(&read.unwrap_or_default()).unwrap_or(Offset::ZERO);
                *known.insert(marked)
            }
        }
    }

    pub(super) fn set(&self, end: Offset, disk: &dyn Disk) -> std::io::Result<()> {
        let mut known = lock(&self.known);
        replace_file(&self.path, &encode(end), disk)?;
        *known = Some(end);
        Ok(())
    }

    /// The log is emptied: what it will hold is dirty.
    pub(in crate::storage::log) fn forget(&self, disk: &dyn Disk) -> Result<(), LogError> {
        let mut known = lock(&self.known);
        *known = Some(Offset::ZERO);
        disk.remove_if_there(&self.path).map_err(LogError::io("delete", &self.path))
    }
}

fn encode(end: Offset) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..8].copy_from_slice(&VERSION.to_be_bytes());
    bytes[8..16].copy_from_slice(&end.0.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Offset> {
    let sound = bytes.len() == BYTES
        && &bytes[..4] == MAGIC
        && u32::from_be_bytes(take(bytes, 4)) == VERSION
        && u32::from_be_bytes(take(bytes, 16)) == crc32c::crc32c(&bytes[..16]);
    sound.then(|| Offset(i64::from_be_bytes(take(bytes, 8))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SystemDisk;

    #[test]
    fn comes_back_and_a_damaged_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(CleanMark::new(dir.path()).get(), Offset::ZERO);
        CleanMark::new(dir.path()).set(Offset(77), &SystemDisk).unwrap();
        assert_eq!(CleanMark::new(dir.path()).get(), Offset(77));
        let mut bytes = encode(Offset(77));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        CleanMark::new(dir.path()).forget(&SystemDisk).unwrap();
        assert_eq!(CleanMark::new(dir.path()).get(), Offset::ZERO);
    }
}
