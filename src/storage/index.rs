//! The sparse index beside a segment: a memory map of fixed-size entries, rebuilt when it is lost.
//!
//! One entry about every `index_interval_bytes`, 32 bytes, big-endian, for the item at `position`:
//! ```text
//!  0  offset delta    u32   its base offset (or the next one) − the segment's
//!  4  index delta     u32   its Raft index − the segment's first
//!  8  position        u32   bytes from the file's start
//! 12  frames before   u32   31 bits: `J` frames between the head and it: equal counts mean none between;
//!                           the top bit: it is a batch right behind a frame, so a fetch can begin there
//! 16  max timestamp   i64   of all batches before it in the segment
//! 24  term            u32   its term
//! 28  crc             u32   CRC-32C of the segment's first index, topic id, partition and cluster id, and
//!                           bytes 0–27: another segment's entries are not sound here
//! ```
//! It serves lookups by offset, by Raft index, by position and by time.
//!
//! **Invariant:** the segment is the truth. An entry that fails its CRC, or that an item does not
//! confirm, is dropped with all after it, and made again from the segment.
//! **Invariant:** entries of truncated items are wiped from disk before the segment is cut, so that
//! none can come back after a crash and point into the middle of newer items.
//! **Invariant:** a map that was closed is made again by the next use, with the entries that it had.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use memmap2::{MmapMut, MmapOptions};

use super::disk::Disk;
use super::frame::take;
use super::locks::{read, write};
use super::open_files::{OpenFiles, is_out_of_files};
use super::segment_head::SegmentHead;
use crate::model::{Offset, Timestamp};

const ENTRY_BYTES: usize = 32;
/// First size of the file: one page, enough for half a MiB of log.
const FILE_BYTES_MIN: usize = 4096;
/// What is read of a file at a time.
const READ_BYTES: usize = 256 << 10;
/// Beside the count of frames before an item.
const BEGINS_RUN: u32 = 1 << 31;

/// An index entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) offset: Offset,
    pub(super) index: u64,
    pub(super) position: u64,
    pub(super) frames_before: u32,
    /// It is a batch, and what is before it is a frame.
    pub(super) begins_run: bool,
    pub(super) max_timestamp: Timestamp,
    pub(super) term: u64,
}

/// A segment's index.
pub(super) struct Index {
    path: PathBuf,
    base_offset: Offset,
    first_index: u64,
    /// What every entry's CRC begins with: that of whose segment it is.
    crc: u32,
    open_files: Arc<OpenFiles>,
    /// Loaded and, for a sealed segment, completed.
    complete: AtomicBool,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// `None` without a file, or where it was closed.
    map: Option<MmapMut>,
    /// Entries, also of a closed map.
    count: usize,
    /// No space for more: lookups walk further.
    full: bool,
    /// Entries were found in a file: they are hints until an item confirms them.
    found: bool,
}

impl Index {
    /// The index of a segment; touches no file yet.
    pub(super) fn new(path: PathBuf, head: &SegmentHead, open_files: Arc<OpenFiles>) -> Self {
        Self {
            path,
            base_offset: head.base_offset,
            first_index: head.first_index,
            crc: crc_of(head),
            open_files,
            complete: AtomicBool::new(false),
            state: RwLock::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`Self::set_complete`] was called, and nothing was lost since.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Marks the index as good: it is loaded, and has the entries that it should have.
    pub(super) fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// Maps the file if there is one and counts the sound entries that lie before `end`; all after
    /// are wiped in memory.
    pub(super) fn load(&self, end: u64) -> io::Result<()> {
        let mut state = write(&self.state);
        if state.map.is_none() {
            state.map = match self.open_file() {
                Ok(file) if file.metadata()?.len() < ENTRY_BYTES as u64 => None,
                Ok(file) if can_be_read(&file) => Some(map(&file)?),
                Ok(_) => {
                    let path = self.path.display();
                    tracing::warn!(%path, "the disk no longer gives the index back: it is made again");
                    std::fs::remove_file(&self.path)?;
                    None
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
        }
        let capacity = state.capacity();
        let mut count = 0;
        let mut last = 0;
        while count < capacity {
            let Some(entry) = self.decode(&state, count) else { break };
            if entry.position <= last || entry.position >= end {
                break;
            }
            last = entry.position;
            count += 1;
        }
        state.count = count;
        state.found |= count > 0;
        state.wipe_from(count);
        Ok(())
    }

    /// Adds an entry; does nothing where one at or behind its position is there already, where its
    /// numbers do not fit, or where the disk is full.
    pub(super) fn push(&self, entry: &IndexEntry) {
        let mut state = write(&self.state);
        if let Err(error) = self.open_map(&mut state) {
            tracing::warn!(%error, path = %self.path.display(), "an index entry is left out");
            return;
        }
        let stale = state.count > 0
            && self.decode(&state, state.count - 1).is_none_or(|e| e.position >= entry.position);
        let Some(bytes) = self.encode(entry) else { return };
        if stale || state.full || !self.make_room(&mut state) {
            return;
        }
        let at = state.count * ENTRY_BYTES;
        if let Some(map) = &mut state.map {
            map[at..at + ENTRY_BYTES].copy_from_slice(&bytes);
            state.count += 1;
        }
    }

    /// Drops the entries of items at `position` and after. With a disk, the file says so there when
    /// this returns.
    pub(super) fn truncate_from(&self, position: u64, disk: Option<&dyn Disk>) -> io::Result<()> {
        let mut state = write(&self.state);
        match self.open_map(&mut state) {
            // What is not there need not be wiped.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        }
        let keep = self.partition(&state, |e| e.position < position);
        if keep == state.count {
            return Ok(());
        }
        // A sync of the file covers what was stored through its map.
        let to_sync = match disk {
            Some(disk) if state.map.is_some() => Some((disk, self.open_file()?)),
            _ => None,
        };
        state.wipe_from(keep);
        state.count = keep;
        state.full = false;
        to_sync.map_or(Ok(()), |(disk, file)| disk.sync_data(&file))
    }

    /// Cuts the file to its entries and puts it on the disk: the segment is sealed.
    pub(super) fn seal(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut state = write(&self.state);
        self.open_map(&mut state)?;
        if state.map.is_none() {
            return Ok(());
        }
        let file = self.open_file()?;
        state.map = None;
        file.set_len((state.count * ENTRY_BYTES) as u64)?;
        disk.sync_data(&file)?;
        if state.count > 0 {
            state.map = Some(map(&file)?);
        }
        Ok(())
    }

    /// The last entry whose item begins at or before `offset`.
    pub(super) fn floor_offset(&self, offset: Offset) -> io::Result<Option<IndexEntry>> {
        self.last_where(|e| e.offset <= offset)
    }

    /// The entry of the batch that begins at `offset` behind a frame, if this process made all entries.
    pub(super) fn own_run_at(&self, offset: Offset) -> io::Result<Option<IndexEntry>> {
        self.look(|state| {
            if state.found {
                return None;
            }
            let at = self.partition(state, |e| e.offset <= offset).checked_sub(1)?;
            self.decode(state, at).filter(|e| e.begins_run && e.offset == offset)
        })
    }

    /// The last entry whose item's Raft index is at most `index`.
    pub(super) fn floor_index(&self, index: u64) -> io::Result<Option<IndexEntry>> {
        self.last_where(|e| e.index <= index)
    }

    /// The last entry at or before `position`.
    pub(super) fn floor_position(&self, position: u64) -> io::Result<Option<IndexEntry>> {
        self.last_where(|e| e.position <= position)
    }

    /// The last entry before whose item no batch is as new as `timestamp`.
    pub(super) fn floor_timestamp(&self, timestamp: Timestamp) -> io::Result<Option<IndexEntry>> {
        self.last_where(|e| e.max_timestamp < timestamp)
    }

    /// The last entry for which `test`, true up to some entry and false after, holds.
    pub(super) fn last_where(
        &self,
        test: impl Fn(&IndexEntry) -> bool,
    ) -> io::Result<Option<IndexEntry>> {
        self.look(|state| {
            let at = self.partition(state, test).checked_sub(1)?;
            self.decode(state, at)
        })
    }

    /// As [`Self::last_where`], and the entry behind it.
    pub(super) fn last_where_and_next(
        &self,
        test: impl Fn(&IndexEntry) -> bool,
    ) -> io::Result<Option<(IndexEntry, Option<IndexEntry>)>> {
        self.look(|state| {
            let next = self.partition(state, test);
            let last = self.decode(state, next.checked_sub(1)?)?;
            Some((last, (next < state.count).then(|| self.decode(state, next)).flatten()))
        })
    }

    /// What `with` finds in the entries, which are mapped for it.
    fn look<T>(&self, with: impl FnOnce(&State) -> T) -> io::Result<T> {
        {
            let state = read(&self.state);
            if !state.is_closed() {
                return Ok(with(&state));
            }
        }
        let mut state = write(&self.state);
        self.open_map(&mut state)?;
        Ok(with(&state))
    }

    /// Closes the map; false while somebody uses it.
    pub(super) fn close(&self) -> bool {
        let Ok(mut state) = self.state.try_write() else { return false };
        state.map = None;
        true
    }

    /// Maps a closed map's file again.
    fn open_map(&self, state: &mut State) -> io::Result<()> {
        if !state.is_closed() {
            return Ok(());
        }
        let bytes = state.count * ENTRY_BYTES;
        let reopened = self.open_file().and_then(|file| {
            let is_whole = file.metadata()?.len() >= bytes as u64;
            let gone = || io::Error::new(io::ErrorKind::NotFound, "its entries are gone");
            if is_whole { map(&file) } else { Err(gone()) }
        });
        if reopened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // Made again by the next walk; this one does not go on with half of it.
            state.count = 0;
            self.complete.store(false, Ordering::Release);
        }
        state.map = Some(reopened?);
        Ok(())
    }

    fn open_file(&self) -> io::Result<File> {
        let open = || OpenOptions::new().read(true).write(true).open(&self.path);
        self.open_files.open(open)
    }

    /// The last entry.
    pub(super) fn last(&self) -> io::Result<Option<IndexEntry>> {
        self.last_where(|_| true)
    }

    /// Pairs of neighbouring entries between which the term changes; the first pair's left side is
    /// `None` for the segment's beginning, before which the newest known term is `known`.
    pub(super) fn term_changes(
        &self,
        known: Option<u64>,
    ) -> io::Result<Vec<(Option<IndexEntry>, IndexEntry)>> {
        self.look(|state| self.term_changes_in(state, known))
    }

    fn term_changes_in(
        &self,
        state: &State,
        known: Option<u64>,
    ) -> Vec<(Option<IndexEntry>, IndexEntry)> {
        let mut changes = Vec::new();
        let mut left: Option<IndexEntry> = None;
        for at in 0..state.count {
            let Some(entry) = self.decode(state, at) else { break };
            if left.map_or(known, |e| Some(e.term)) != Some(entry.term) {
                changes.push((left, entry));
            }
            left = Some(entry);
        }
        changes
    }

    fn partition(&self, state: &State, test: impl Fn(&IndexEntry) -> bool) -> usize {
        let (mut low, mut high) = (0, state.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.decode(state, middle).is_some_and(|e| test(&e)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn make_room(&self, state: &mut State) -> bool {
        if state.count < state.capacity() {
            return true;
        }
        let old = state.capacity() * ENTRY_BYTES;
        match self.grow(old, (old * 2).max(FILE_BYTES_MIN)) {
            Ok(map) => {
                state.map = Some(map);
                true
            }
            Err(error) => {
                // Without blocks behind it, a store into the map would kill the process (SIGBUS).
                tracing::warn!(%error, path = %self.path.display(), "cannot grow the index");
                // One that lacked a descriptor is tried again.
                state.full = !is_out_of_files(&error);
                false
            }
        }
    }

    fn grow(&self, old: usize, new: usize) -> io::Result<MmapMut> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = self.open_files.open(|| options.open(&self.path))?;
        rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::empty(),
            old as u64,
            (new - old) as u64,
        )?;
        map(&file)
    }

    fn crc(&self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.crc, bytes)
    }

    fn encode(&self, entry: &IndexEntry) -> Option<[u8; ENTRY_BYTES]> {
        let mut bytes = [0; ENTRY_BYTES];
        let offset = u32::try_from(entry.offset.0 - self.base_offset.0).ok()?;
        let index = u32::try_from(entry.index.checked_sub(self.first_index)?).ok()?;
        bytes[..4].copy_from_slice(&offset.to_be_bytes());
        bytes[4..8].copy_from_slice(&index.to_be_bytes());
        bytes[8..12].copy_from_slice(&u32::try_from(entry.position).ok()?.to_be_bytes());
        let run = if entry.begins_run { BEGINS_RUN } else { 0 };
        let frames = (entry.frames_before < BEGINS_RUN).then_some(entry.frames_before | run)?;
        bytes[12..16].copy_from_slice(&frames.to_be_bytes());
        bytes[16..24].copy_from_slice(&entry.max_timestamp.0.to_be_bytes());
        bytes[24..28].copy_from_slice(&u32::try_from(entry.term).ok()?.to_be_bytes());
        let crc = self.crc(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_be_bytes());
        Some(bytes)
    }

    fn decode(&self, state: &State, at: usize) -> Option<IndexEntry> {
        let bytes = state.map.as_ref()?.get(at * ENTRY_BYTES..(at + 1) * ENTRY_BYTES)?;
        let u32_at = |at| u32::from_be_bytes(take(bytes, at));
        if u32_at(28) != self.crc(&bytes[..28]) {
            return None;
        }
        Some(IndexEntry {
            offset: Offset(self.base_offset.0 + i64::from(u32_at(0))),
            index: self.first_index + u64::from(u32_at(4)),
            position: u64::from(u32_at(8)),
            frames_before: u32_at(12) & !BEGINS_RUN,
            begins_run: u32_at(12) & BEGINS_RUN != 0,
            max_timestamp: Timestamp(i64::from_be_bytes(take(bytes, 16))),
            term: u64::from(u32_at(24)),
        })
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.map.is_none() && self.count > 0
    }

    fn capacity(&self) -> usize {
        self.map.as_ref().map_or(0, |m| m.len() / ENTRY_BYTES)
    }

    fn wipe_from(&mut self, entry: usize) {
        if let Some(map) = &mut self.map {
            let from = (entry * ENTRY_BYTES).min(map.len());
            // Only what is not zero is written: an untouched page stays clean.
            for chunk in map[from..].chunks_mut(ENTRY_BYTES) {
                if chunk.iter().any(|b| *b != 0) {
                    chunk.fill(0);
                }
            }
        }
    }
}

/// What the CRCs of a segment's entries begin with.
pub(super) fn crc_of(head: &SegmentHead) -> u32 {
    let SegmentHead { first_index, identity, .. } = head;
    let whose = [
        &first_index.to_be_bytes()[..],
        &identity.topic_id.to_bytes(),
        &identity.partition.0.to_be_bytes(),
        identity.cluster_id.as_bytes(),
    ];
    whose.into_iter().fold(0, crc32c::crc32c_append)
}

/// Whether the disk gives all of a file back: of a map, what it does not would end the process (SIGBUS).
fn can_be_read(file: &File) -> bool {
    let mut chunk = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        match file.read_at(&mut chunk, at) {
            Ok(0) => return true,
            Ok(count) => at += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: the file lies in a folder that this process has locked for itself; it is shrunk only by
    // `seal`, after the map is dropped. Its contents are data checked by CRC, not trusted.
    unsafe { MmapOptions::new().map_mut(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_does_not_give_back_is_not_mapped() {
        let file = tempfile::tempfile().unwrap();
        assert!(can_be_read(&file));
        file.set_len(READ_BYTES as u64 + 7).unwrap();
        assert!(can_be_read(&file));
        // Reads of page 0, which no process has, fail with EIO.
        assert!(!can_be_read(&File::open("/proc/self/mem").unwrap()));
    }
}
