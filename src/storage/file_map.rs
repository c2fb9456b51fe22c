//! A writable map of a part of a file, through which entries are stored without a system call.
//!
//! **Invariant:** what is mapped has blocks on the disk, and the file is not shrunk below it while the map
//! is there: a store cannot fail, nor kill the process (SIGBUS) on a full disk.
//! **Invariant:** of entries that are stored together the first one's length comes last, in one store. A copy
//! goes through memory in an order of its own; a process that is killed in it leaves an entry without a length,
//! behind which nothing counts.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::{Advice, MmapMut, MmapOptions};

/// Where a map begins is a multiple of this, and should end there: a huge page, where files can have them.
pub(super) const PAGE_BYTES: u64 = 2 << 20;

/// Where an entry has its length and its term, of which a whole one has both.
pub(super) const STORED_LAST: Range<usize> = 8..16;

/// Pages are filled with zeros so far ahead of what is stored. Until then they are clean: the system can have
/// them back, and no sync writes them.
const FILLED_AHEAD_BYTES: u64 = 2 * PAGE_BYTES;

/// The bytes of a file from some position on, as far as they are mapped.
#[derive(Debug)]
pub struct FileMap {
    map: MmapMut,
    start: u64,
    /// Up to here somebody was asked to fill the pages.
    filled_upto: u64,
}

impl FileMap {
    /// Maps `file` from `from`, or a little before it, up to `upto`: all of that must be allocated.
    pub(super) fn of(file: &File, from: u64, upto: u64) -> io::Result<Self> {
        let start = from / PAGE_BYTES * PAGE_BYTES;
        Ok(Self { map: map(file, start, upto)?, start, filled_upto: from })
    }

    /// Whether the bytes up to `end` can be stored.
    pub(super) fn reaches(&self, end: u64) -> bool {
        end <= self.start + self.map.len() as u64
    }

    /// The whole pages that are to be [filled](fill) now that the log ends at `end`: some of those behind it,
    /// each once.
    pub(super) fn take_unfilled(&mut self, end: u64) -> Option<Range<u64>> {
        if self.filled_upto >= end + FILLED_AHEAD_BYTES / 2 {
            return None;
        }
        let from = self.filled_upto.max(end).next_multiple_of(PAGE_BYTES);
        let mapped = self.start + self.map.len() as u64;
        let upto = (from + FILLED_AHEAD_BYTES).min(mapped / PAGE_BYTES * PAGE_BYTES);
        self.filled_upto = upto.max(from);
        (from < upto).then_some(from..upto)
    }

    /// Stores `slices`, of which the first holds the head of an entry, one after the other, so that they
    /// are in the file at `position`.
    pub fn put(&mut self, slices: &[IoSlice<'_>], position: u64) {
        let Some((first, rest)) = slices.split_first() else { return };
        let begin = (position - self.start) as usize;
        let mut at = begin;
        let last = first.get(STORED_LAST).expect("the head of an entry");
        for part in [
            &first[..STORED_LAST.start],
            &[0; STORED_LAST.end - STORED_LAST.start],
            &first[STORED_LAST.end..],
        ]
        .into_iter()
        .chain(rest.iter().map(|slice| &**slice))
        {
            self.map[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        // Who looks, if this process is killed, sees its stores in their order.
        compiler_fence(Ordering::SeqCst);
        self.map[begin + STORED_LAST.start..begin + STORED_LAST.end].copy_from_slice(last);
    }
}

/// Has the pages of `file` in `range` in memory, so that a store finds them there. They are nobody's who
/// calls: where that is refused, or the file has become shorter, the store does it, or there is none.
pub(super) fn fill(file: &File, range: Range<u64>) -> io::Result<()> {
    map(file, range.start, range.end)?.advise(Advice::PopulateRead)
}

#[allow(unsafe_code)]
fn map(file: &File, start: u64, end: u64) -> io::Result<MmapMut> {
    let len = usize::try_from(end - start).map_err(io::Error::other)?;
    // SAFETY: the file lies in a folder that this process has locked for itself, and who shrinks it drops
    // the map first (see the head). Nobody holds a reference into the map but `put`; what others read of
    // the file they read by system calls, below what was stored before.
    let map = unsafe { MmapOptions::new().offset(start).len(len).map_mut(file) }?;
    // Where files can have huge pages it takes far fewer page faults; elsewhere it is refused.
    let _ = map.advise(Advice::HugePage);
    Ok(map)
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
        let slices = [&b"0123456789abcdefg"[..], b"", b"hi"].map(IoSlice::new);
        map.put(&slices, LEN - 19);
        let mut read = [0; 20];
        file.read_exact_at(&mut read, LEN - 20).unwrap();
        assert_eq!(&read, b"\x000123456789abcdefghi");
    }

    #[test]
    fn pages_are_filled_once_each_and_not_beyond_the_map() {
        const PAGES: u64 = 7;
        let file = tempfile::tempfile().unwrap();
        file.set_len(PAGES * PAGE_BYTES + 1).unwrap();
        let mut map = FileMap::of(&file, 1, PAGES * PAGE_BYTES + 1).unwrap();
        let mut taken = Vec::new();
        for end in (1..PAGES * PAGE_BYTES).step_by(100_000) {
            let Some(range) = map.take_unfilled(end) else { continue };
            assert!(range.start < end + FILLED_AHEAD_BYTES && end <= range.start);
            fill(&file, range.clone()).unwrap();
            taken.push(range);
        }
        assert_eq!(taken.first().map(|range| range.start), Some(PAGE_BYTES));
        assert!(taken.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(taken.last().map(|range| range.end), Some(PAGES * PAGE_BYTES));
    }
}
