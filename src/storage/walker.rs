//! Goes through a segment from item to item, with or without checking CRCs.
//!
//! **Invariant:** an item is returned only if it continues the one before: offset, index, term. A
//! batch's CRC does not cover its stamp, so this check is what guards it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::bit_flip;
use super::file_map::STORED_LAST;
use super::frame::{FRAME_HEADER_BYTES, FrameKind, ITEM_HEADER_BYTES, Item, PREFIX_BYTES};
use crate::model::Offset;

/// Bytes read at a time when only headers are wanted: about two index intervals.
const HEADER_WINDOW_BYTES: usize = 8 << 10;
/// Bytes read at a time when CRCs are checked.
const CHECK_WINDOW_BYTES: usize = 256 << 10;

/// What a disk writes as a whole or not at all.
const SECTOR: u64 = 512;

/// What the next item must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) next_index: u64,
    pub(super) next_offset: Offset,
    /// Term of the entry before; `None` before the first entry of all.
    pub(super) term: Option<u64>,
}

impl Cursor {
    /// Moves behind `item`, or says why it cannot be the next one.
    pub(super) fn admit(&mut self, item: &Item) -> Result<(), String> {
        let term =
            u64::try_from(item.term()).map_err(|_| format!("an entry of term {}", item.term()))?;
        if item.offset() != self.next_offset {
            return Err(format!("offset {} where {} must follow", item.offset(), self.next_offset));
        }
        match item {
            Item::Batch(header) => {
                // A leader's first entry is a frame, whose CRC covers the term; a batch's does not.
                if self.term.is_some_and(|before| before != term) {
                    return Err(format!("a batch of term {term} begins a term"));
                }
                header.check_stored().map_err(|error| error.to_string())?;
            }
            Item::Frame(header) => {
                if header.kind == FrameKind::Head {
                    return Err("a segment head inside of a segment".to_owned());
                }
                if header.index != self.next_index {
                    return Err(format!("index {} instead of {}", header.index, self.next_index));
                }
                if self.term.is_some_and(|before| before > term) {
                    return Err(format!("term {term} goes back"));
                }
            }
        }
        self.next_index += 1;
        self.next_offset = item.next_offset();
        self.term = Some(term);
        Ok(())
    }
}

/// An item and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub(super) item: Item,
    pub(super) position: u64,
    pub(super) index: u64,
}

impl Located {
    pub(super) fn end(&self) -> u64 {
        self.position + self.item.size() as u64
    }
}

/// What a walk met.
pub(super) enum Step {
    Item(Located),
    /// The end: of the range, or nothing but the zeros of preallocated space begins here.
    End,
    /// Something else begins here.
    Bad(String),
}

/// Reads a file through a window.
pub(super) struct Window {
    file: Arc<File>,
    start: u64,
    bytes: Vec<u8>,
    size: usize,
    /// Behind it there are zeros only, and nothing is read that was not asked for.
    data_end: u64,
}

impl Window {
    fn new(file: Arc<File>, size: usize) -> Self {
        Self { file, start: 0, bytes: Vec::new(), size, data_end: u64::MAX }
    }

    /// Where from `from` on there may be something else than zeros: not so in room that was taken ahead and
    /// never written to, which is most of what lies behind a log's end.
    fn data_ranges(&self, from: u64, end: u64) -> io::Result<Vec<Range<u64>>> {
        let seek = |to| match rustix::fs::seek(&self.file, to) {
            Ok(position) => Ok(Some(position)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(io::Error::from(error)),
        };
        let (mut ranges, mut at) = (Vec::new(), from);
        while let Some(begin) = seek(SeekFrom::Data(at))?.filter(|begin| *begin < end) {
            at = seek(SeekFrom::Hole(begin))?.unwrap_or(end).clamp(begin + 1, end);
            ranges.push(begin..at);
        }
        Ok(ranges)
    }

    /// Up to `want` (≤ the window's size) bytes at `position`, fewer only at `end`.
    fn get(&mut self, position: u64, want: usize, end: u64) -> io::Result<&[u8]> {
        let want = want.min(end.saturating_sub(position) as usize);
        let inside = position >= self.start
            && position + want as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let upto = self.data_end.max(position + want as u64).min(end);
            let len = self.size.min((upto - position) as usize);
            self.bytes.resize(len, 0);
            self.start = position;
            let mut have = 0;
            while have < len {
                match self.file.read_at(&mut self.bytes[have..], position + have as u64) {
                    Ok(0) => break,
                    Ok(n) => have += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        self.bytes.clear();
                        return Err(e);
                    }
                }
            }
            self.bytes.truncate(have);
        }
        let from = (position - self.start) as usize;
        let to = (from + want).min(self.bytes.len());
        Ok(&self.bytes[from.min(to)..to])
    }
}

/// Goes from item to item between two positions of a segment.
pub(super) struct Walker {
    window: Window,
    pub(super) position: u64,
    end: u64,
    pub(super) cursor: Cursor,
    check: bool,
}

impl Walker {
    /// Reads headers only.
    pub(super) fn headers(file: Arc<File>, position: u64, end: u64, cursor: Cursor) -> Self {
        let window = Window::new(file, HEADER_WINDOW_BYTES);
        Self { window, position, end, cursor, check: false }
    }

    /// Reads everything and checks CRCs.
    pub(super) fn checking(file: Arc<File>, position: u64, end: u64, cursor: Cursor) -> Self {
        let window = Window::new(file, CHECK_WINDOW_BYTES);
        Self { window, position, end, cursor, check: true }
    }

    /// Notes where what was written ends. To be done before anything is read: what the system reads ahead
    /// counts as written from then on, and of room that was never written to that is much: pages full of zeros, as
    /// many as a disk with a large read-ahead asks for.
    pub(super) fn note_data_end(&mut self) -> io::Result<()> {
        let ranges = self.window.data_ranges(self.position, self.end)?;
        self.window.data_end = ranges.last().map_or(self.position, |range| range.end);
        Ok(())
    }

    /// The next item; the walk stands behind it after. After `End` or `Bad` it stands still.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.position >= self.end.min(self.window.data_end) {
            return Ok(Step::End);
        }
        let bytes = self.window.get(self.position, ITEM_HEADER_BYTES, self.end)?;
        if bytes.iter().take(PREFIX_BYTES).all(|b| *b == 0) {
            return Ok(Step::End);
        }
        let item = match Item::parse(bytes) {
            Ok(item) => item,
            Err(what) => return Ok(Step::Bad(what)),
        };
        let left = self.end - self.position;
        if item.size() as u64 > left {
            return Ok(Step::Bad(format!("{} bytes announced, {left} are left", item.size())));
        }
        let mut cursor = self.cursor;
        if let Err(what) = cursor.admit(&item) {
            return Ok(Step::Bad(what));
        }
        if self.check
            && let Err(what) = self.check_crc(&item, self.position)?
        {
            return Ok(Step::Bad(what));
        }
        let located = Located { item, position: self.position, index: self.cursor.next_index };
        self.cursor = cursor;
        self.position = located.end();
        Ok(Step::Item(located))
    }

    fn check_crc(&mut self, item: &Item, position: u64) -> io::Result<Result<(), String>> {
        let header = self.window.get(position, ITEM_HEADER_BYTES, self.end)?;
        let start = item.crc_start(header);
        Ok(match self.crc_of(item, start, position)? {
            Some(computed) => item.compare_crc(computed),
            None => Err("the file ends inside of it".to_owned()),
        })
    }

    /// The CRC of the item at `position`, of which `start` is the header's part; `None` if the file ends
    /// inside of it. In pieces: a damaged length must not make us allocate what it says.
    fn crc_of(
        &mut self,
        item: &Item,
        (mut crc, skip): (u32, usize),
        position: u64,
    ) -> io::Result<Option<u32>> {
        let end = position + item.size() as u64;
        let mut at = position + skip as u64;
        while at < end {
            let want = (CHECK_WINDOW_BYTES / 2).min((end - at) as usize);
            let bytes = self.window.get(at, want, self.end)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, bytes);
            at += bytes.len() as u64;
        }
        Ok(Some(crc))
    }

    /// Whether the item at `position`, a bad one, was written as a whole and changed since. Not if it lacks what
    /// is stored last. Otherwise it was where
    ///
    /// * it would be sound if one bit of it were another,
    /// * or no part of it, nor of what follows it, reads as never written,
    /// * or no part of it does, and a sound item that continues it lies right behind it, going by its
    ///   header's length.
    pub(super) fn is_damage(&mut self, position: u64) -> io::Result<bool> {
        let bytes = self.window.get(position, ITEM_HEADER_BYTES, self.end)?;
        let item = Item::parse(bytes);
        if self.is_one_bit_off(position)? {
            return Ok(true);
        }
        let bytes = self.window.get(position, ITEM_HEADER_BYTES, self.end)?;
        if bytes.get(STORED_LAST).is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0)) {
            return Ok(false);
        }
        let size = item.as_ref().map_or(ITEM_HEADER_BYTES, Item::size) as u64;
        let behind = position + size;
        if behind > self.end {
            return Ok(false);
        }
        let Some(last) = self.last_nonzero(position)? else { return Ok(false) };
        if !self.has_unwritten_sector(position, behind.max(last))? {
            return Ok(true);
        }
        if item.is_err()
            || behind + PREFIX_BYTES as u64 > self.end
            || self.has_unwritten_sector(position, behind)?
        {
            return Ok(false);
        }
        let bytes = self.window.get(behind, ITEM_HEADER_BYTES, self.end)?;
        let Ok(next) = Item::parse(bytes) else { return Ok(false) };
        if behind + next.size() as u64 > self.end || next.offset() < self.cursor.next_offset {
            return Ok(false);
        }
        Ok(self.check_crc(&next, behind)?.is_ok())
    }

    /// Whether the bad item at `position` would be sound, and continue the walk, with one bit changed in
    /// what was written of it.
    fn is_one_bit_off(&mut self, position: u64) -> io::Result<bool> {
        let mut header = self.window.get(position, ITEM_HEADER_BYTES, self.end)?.to_vec();
        // What says how long the item is, and what its CRC does not cover, is tried out.
        for bit in 0..header.len().min(FRAME_HEADER_BYTES) * 8 {
            let (at, mask) = (bit / 8, 1 << (bit % 8));
            header[at] ^= mask;
            if let Some(item) = self.continuing(&header, position)
                && self.crc_of(&item, item.crc_start(&header), position)? == Some(item.crc())
            {
                return self.is_written_at(position + at as u64, position, &item);
            }
            header[at] ^= mask;
        }
        let Some(item) = self.continuing(&header, position) else { return Ok(false) };
        let start = item.crc_start(&header);
        let Some(computed) = self.crc_of(&item, start, position)? else { return Ok(false) };
        match bit_flip::find(item.crc(), computed, item.size() as u64) {
            Some(from_end) => {
                let at = position + item.size() as u64 - 1 - from_end;
                self.is_written_at(at, position, &item)
            }
            None => Ok(false),
        }
    }

    /// Whether the item's part of the sector with the byte `at` holds something: where it does not, the
    /// one bit may be all that the sector lacks.
    fn is_written_at(&mut self, at: u64, position: u64, item: &Item) -> io::Result<bool> {
        let sector = at / SECTOR * SECTOR;
        let (from, to) = (sector.max(position), sector + SECTOR);
        let to = to.min(position + item.size() as u64);
        let bytes = self.window.get(from, (to - from) as usize, self.end)?;
        Ok(bytes.iter().any(|byte| *byte != 0))
    }

    /// The item that begins with `header`, if it can be the next one and is all inside of the file.
    fn continuing(&self, header: &[u8], position: u64) -> Option<Item> {
        let item = Item::parse(header).ok()?;
        let fits = position + item.size() as u64 <= self.end;
        (fits && { self.cursor }.admit(&item).is_ok()).then_some(item)
    }

    /// Whether some 512-byte sector of the range ends in zeros, as one does that never reached the
    /// disk: preallocated space reads as zeros. Of the last one, which the range may leave in the middle,
    /// a zero at the end is enough: a copy that was broken off ends anywhere.
    fn has_unwritten_sector(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let mut at = from;
        while at < to {
            let sector_end = ((at / SECTOR + 1) * SECTOR).min(to);
            let looked_at = if sector_end == to { 1 } else { 16 };
            let tail = sector_end.saturating_sub(looked_at).max(at);
            let bytes = self.window.get(tail, (sector_end - tail) as usize, self.end)?;
            if bytes.iter().all(|b| *b == 0) {
                return Ok(true);
            }
            at = sector_end;
        }
        Ok(false)
    }

    /// The position behind the last byte that is not zero, at or after `from`; `None` if all are zero.
    pub(super) fn last_nonzero(&mut self, from: u64) -> io::Result<Option<u64>> {
        let end = self.end.min(self.window.data_end);
        for range in self.window.data_ranges(from, end)?.into_iter().rev() {
            let mut last = None;
            let mut at = range.start;
            while at < range.end {
                let want = CHECK_WINDOW_BYTES.min(self.window.size);
                let bytes = self.window.get(at, want, range.end)?;
                if bytes.is_empty() {
                    break;
                }
                if let Some(found) = bytes.iter().rposition(|b| *b != 0) {
                    last = Some(at + found as u64 + 1);
                }
                at += bytes.len() as u64;
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::frame::FrameHeader;

    const BEGIN: Cursor = Cursor { next_index: 0, next_offset: Offset::ZERO, term: None };

    /// A file of 64 KiB of which nothing was written but what is put there.
    fn sparse() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 10).unwrap();
        file
    }

    /// Puts the head of the entry at `index` there; where its body begins.
    fn put_head(file: &File, position: u64, index: u64, body: &[u8]) -> u64 {
        let head = FrameHeader::encode(FrameKind::Command, Offset::ZERO, 1, index, body);
        file.write_all_at(&head, position).unwrap();
        position + head.len() as u64
    }

    /// Puts the entry at `index` there; where it ends.
    fn put(file: &File, position: u64, index: u64, body: &[u8]) -> u64 {
        let at = put_head(file, position, index, body);
        file.write_all_at(body, at).unwrap();
        at + body.len() as u64
    }

    /// As a start does it.
    fn walk(file: File) -> (Walker, Option<String>) {
        let mut walker = Walker::checking(Arc::new(file), 0, 64 << 10, BEGIN);
        walker.note_data_end().unwrap();
        loop {
            match walker.step().unwrap() {
                Step::Item(_) => {}
                Step::End => return (walker, None),
                Step::Bad(what) => return (walker, Some(what)),
            }
        }
    }

    #[test]
    fn what_lies_behind_the_last_written_block_is_not_read() {
        let file = sparse();
        let end = put(&file, 0, 0, &[7; 9_000]);
        let (walker, bad) = walk(file);
        assert_eq!((walker.position, bad), (end, None));
        let read = walker.window.start + walker.window.bytes.len() as u64;
        assert!(read < 32 << 10, "{read} bytes read of 64 KiB, of which 12 were written");
    }

    #[test]
    fn an_entry_that_reaches_into_a_hole_is_read_to_its_end() {
        let file = sparse();
        let first = put(&file, 0, 0, &[7; 9_000]);
        // All that was written of its body is zeros or was never written: they read the same.
        let body = put_head(&file, first, 1, &[0; 30_000]);
        let (walker, bad) = walk(file.try_clone().unwrap());
        assert_eq!((walker.position, bad), (body + 30_000, None));
        // The same with another body, which is missing.
        put_head(&file, first, 1, &[7; 30_000]);
        let (walker, bad) = walk(file);
        assert_eq!(walker.position, first);
        assert!(bad.is_some());
    }

    #[test]
    fn an_entry_behind_a_hole_is_found() {
        let file = sparse();
        let body = put_head(&file, 0, 0, &[0; 30_000]);
        let end = put(&file, body + 30_000, 1, &[7; 100]);
        let (walker, bad) = walk(file);
        assert_eq!((walker.position, walker.cursor.next_index, bad), (end, 2, None));
    }

    #[test]
    fn what_was_written_last_is_found_among_holes() {
        let file = tempfile::tempfile().unwrap();
        let len = 1 << 30;
        file.set_len(len).unwrap();
        let file = Arc::new(file);
        let last = |from| {
            Walker::checking(Arc::clone(&file), from, len, BEGIN).last_nonzero(from).unwrap()
        };
        assert_eq!(last(0), None);
        for at in [5, 300_000, 700 << 20, len - 1] {
            file.write_all_at(&[0, 0, 1], at - 2).unwrap();
            assert_eq!((last(0), last(at)), (Some(at + 1), Some(at + 1)));
            assert_eq!(last(at + 1), None);
        }
    }
}
