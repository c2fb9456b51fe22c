//! Reads entries back, for replication and apply.
//!
//! **Invariant:** what comes from the disk has had its CRC checked: a corrupt entry is never handed to
//! another replica.

use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use crate::model::Offset;
use crate::storage::frame::{FRAME_HEADER_BYTES, FrameKind, Item};
use crate::storage::locks::read;
use crate::storage::walker::{Step, Walker};
use crate::storage::{EntryBody, EntryId, LogEntry, LogError};

use super::Log;
use super::view::Part;

/// Most bytes that one read of a file brings into memory, unless one entry is larger.
const CHUNK_BYTES: usize = 1 << 20;

impl Log {
    /// Entries from `range.start` on, contiguous, below `range.end`: at least one if any exists, then as
    /// many as fit in `bytes_max`. May stop earlier; empty when the log ends before `range.start`.
    /// Every batch is stamped.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `range.start` was purged; [`LogError::Corrupt`];
    /// [`LogError::Io`].
    pub fn read_entries(
        &self,
        range: Range<u64>,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, LogError> {
        let inner = &*self.0;
        let (first, end) = {
            let view = read(&inner.view);
            (view.first_index(), view.end.next_index)
        };
        let end = end.min(range.end);
        if range.start >= end {
            return Ok(Vec::new());
        }
        if range.start < first {
            let (index, last) = (range.start, end.saturating_sub(1));
            return Err(LogError::OutOfRange { index, first, last });
        }
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut next = range.start;
        let mut left = bytes_max;
        while next < end && (entries.is_empty() || left > 0) {
            let mut found = inner.cache.read(next, end, left);
            if found.is_empty() {
                let stop = inner.cache.first().filter(|c| *c > next).map_or(end, |c| c.min(end));
                found = self.read_from_disk(next, stop, left)?;
            }
            let bytes: u64 = found.iter().map(|e| e.body.len() as u64).sum();
            // The first of a further piece is returned whatever its size: only wanted if it fits.
            if found.is_empty() || (!entries.is_empty() && bytes > left) {
                break;
            }
            next += found.len() as u64;
            left = left.saturating_sub(bytes);
            entries.append(&mut found);
        }
        Ok(entries)
    }

    /// The base offset of the entry at `index` (of a frame, the offset that the next batch gets); at
    /// the log's next index, the end offset.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`]; [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn offset_of(&self, index: u64) -> Result<Offset, LogError> {
        let part = {
            let view = read(&self.0.view);
            let (first, end) = (view.first_index(), view.end);
            if index == end.next_index {
                return Ok(end.next_offset);
            }
            if index < first || index > end.next_index {
                return Err(LogError::OutOfRange { index, first, last: end.next_index - 1 });
            }
            view.part(view.segment_of_index(index))?
        };
        Ok(self.walk_to_index(&part, index)?.cursor.next_offset)
    }

    /// How many bytes the entries of `range` take.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] unless they are all there; [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn bytes_of(&self, range: Range<u64>) -> Result<u64, LogError> {
        let parts = {
            let view = read(&self.0.view);
            let (first, end) = (view.first_index(), view.end.next_index);
            if let Some(index) =
                [range.start, range.end].into_iter().find(|at| *at < first || *at > end)
            {
                return Err(LogError::OutOfRange { index, first, last: end.saturating_sub(1) });
            }
            let upto = view.segment_of_index(range.end);
            let parts = view.segment_of_index(range.start)..=upto;
            parts.map(|at| view.part(at)).collect::<Result<Vec<_>, _>>()?
        };
        let (Some(begin), Some(end)) = (parts.first(), parts.last()) else { return Ok(0) };
        let whole: u64 = parts[1..].iter().zip(&parts).map(|(_, before)| before.end.position).sum();
        let heads: u64 = parts[1..].iter().map(|part| part.segment.head_bytes).sum();
        let upto = self.walk_to_index(end, range.end)?.position;
        let from = self.walk_to_index(begin, range.start)?.position;
        Ok((whole + upto).saturating_sub(heads + from))
    }

    /// A walk that stands before the entry at `index`, which the part holds.
    pub(super) fn walk_to_index(&self, part: &Part, index: u64) -> Result<Walker, LogError> {
        let segment = &part.segment;
        let (mut walker, _) =
            segment.walk_from(&part.end, &self.0.options, |i| i.floor_index(index))?;
        while walker.cursor.next_index < index {
            match walker.step().map_err(LogError::io("read", &segment.path))? {
                Step::Item(_) => {}
                Step::End => return Err(segment.corrupt(walker.position, "ends too early")),
                Step::Bad(what) => return Err(segment.corrupt(walker.position, what)),
            }
        }
        Ok(walker)
    }

    /// Entries of one segment.
    fn read_from_disk(
        &self,
        first: u64,
        stop: u64,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, LogError> {
        let (part, generation) = {
            let view = read(&self.0.view);
            (view.part(view.segment_of_index(first))?, view.generation)
        };
        let mut walker = self.walk_to_index(&part, first)?;
        let segment = &part.segment;
        let mut entries = Vec::new();
        let mut left = bytes_max;
        let mut chunk = Chunk::new(&part);
        while walker.cursor.next_index < stop {
            let term_before = walker.cursor.term;
            let located = match walker.step().map_err(LogError::io("read", &segment.path))? {
                Step::Item(located) => located,
                Step::End if walker.position >= part.end.position => break,
                // Cut off while this went there.
                Step::End if read(&self.0.view).generation != generation => break,
                Step::End => return Err(segment.corrupt(walker.position, "ends too early")),
                Step::Bad(what) => return Err(segment.corrupt(walker.position, what)),
            };
            let size = located.item.size();
            if !entries.is_empty() && size as u64 > left {
                break;
            }
            let ahead = left.min(CHUNK_BYTES as u64) as usize;
            let bytes = chunk.get(located.position, size, ahead)?;
            let what = |what| segment.corrupt(located.position, what);
            located.item.check_crc(&bytes).map_err(what)?;
            let term = u64::try_from(located.item.term()).ok().or(term_before).unwrap_or(0);
            let id = EntryId { term, index: located.index };
            entries.push(LogEntry { id, body: body(&located.item, bytes) });
            left = left.saturating_sub(size as u64);
        }
        Ok(entries)
    }
}

/// A stretch of a segment in memory, of which entries are slices.
pub(super) struct Chunk<'a> {
    part: &'a Part,
    position: u64,
    bytes: Bytes,
}

impl<'a> Chunk<'a> {
    /// Nothing of `part` yet.
    pub(super) fn new(part: &'a Part) -> Self {
        Self { part, position: 0, bytes: Bytes::new() }
    }

    /// `size` bytes at `position`, read with up to `ahead` in all where they are not there.
    pub(super) fn get(
        &mut self,
        position: u64,
        size: usize,
        ahead: usize,
    ) -> Result<Bytes, LogError> {
        let inside = position >= self.position
            && position + size as u64 <= self.position + self.bytes.len() as u64;
        if !inside {
            let segment = &self.part.segment;
            let len = size.max(ahead.min((self.part.end.position - position) as usize));
            let mut bytes = vec![0; len];
            segment
                .file()?
                .read_exact_at(&mut bytes, position)
                .map_err(LogError::io("read", &segment.path))?;
            (self.position, self.bytes) = (position, Bytes::from(bytes));
        }
        let from = (position - self.position) as usize;
        Ok(self.bytes.slice(from..from + size))
    }
}

fn body(item: &Item, bytes: Bytes) -> EntryBody {
    let Item::Frame(frame) = item else { return EntryBody::Batch(bytes) };
    let body = bytes.slice(FRAME_HEADER_BYTES..);
    match frame.kind {
        FrameKind::Blank => EntryBody::Blank,
        FrameKind::Membership => EntryBody::Membership(body),
        FrameKind::Command => EntryBody::Command(body),
        // The walk admits no head inside of a segment.
        FrameKind::Void | FrameKind::Head => EntryBody::Void,
    }
}
