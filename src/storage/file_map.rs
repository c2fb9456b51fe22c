//! A writable map of a part of a file, through which entries are stored without a system call.
//!
//! **Invariant:** what is mapped has blocks on the disk, and the file is not shrunk below it while the map
//! is there: a store cannot fail, nor kill the process (SIGBUS) on a full disk.

use std::fs::File;
use std::io::{self, IoSlice};

use memmap2::{MmapMut, MmapOptions};

/// Where a map begins is a multiple of this, and should end there: a huge page, where files can have them.
pub(super) const PAGE_BYTES: u64 = 2 << 20;

/// The bytes of a file from some position on, as far as they are mapped.
#[derive(Debug)]
pub struct FileMap {
    map: MmapMut,
    start: u64,
}

impl FileMap {
    /// Maps `file` from `from`, or a little before it, up to `upto`: all of that must be allocated.
    pub(super) fn of(file: &File, from: u64, upto: u64) -> io::Result<Self> {
        let start = from / PAGE_BYTES * PAGE_BYTES;
        let len = usize::try_from(upto - start).map_err(io::Error::other)?;
        let map = map(file, start, len)?;
        // Where files can have huge pages it takes far fewer page faults; elsewhere it is refused.
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map, start })
    }

    /// Whether the bytes up to `end` can be stored.
    pub(super) fn reaches(&self, end: u64) -> bool {
        end <= self.start + self.map.len() as u64
    }

    /// Stores `slices` one after the other, so that they are in the file at `position`.
    pub fn put(&mut self, slices: &[IoSlice<'_>], position: u64) {
        let mut at = (position - self.start) as usize;
        for slice in slices {
            self.map[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
    }
}

#[allow(unsafe_code)]
fn map(file: &File, start: u64, len: usize) -> io::Result<MmapMut> {
    // SAFETY: the file lies in a folder that this process has locked for itself, and who shrinks it drops
    // the map first (see the head). Nobody holds a reference into the map but `put`; what others read of
    // the file they read by system calls, below what was stored before.
    unsafe { MmapOptions::new().offset(start).len(len).map_mut(file) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_stored_is_in_the_file() {
        const LEN: u64 = PAGE_BYTES * 2 + 70_000;
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN).unwrap();
        let mut map = FileMap::of(&file, PAGE_BYTES + 1, LEN).unwrap();
        assert!(map.reaches(LEN) && !map.reaches(LEN + 1));
        map.put(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")], LEN - 4);
        let mut read = [0; 5];
        file.read_exact_at(&mut read, LEN - 5).unwrap();
        assert_eq!(&read, b"\0abcd");
    }
}
