//! One file of a log, and its index.
//!
//! It is called `<base offset, 20 digits>.log`. Where the segment before holds no record it has the
//! same base offset; then, and only then, the first index follows:
//! `<base offset>-<first index, 20 digits>.log`. (The metadata log is all frames: every segment of it
//! has base offset 0.)
//!
//! **Invariant:** a segment before the one of the recovery point is on disk as a whole and cut to its size.
//! Of those after it nothing need be there, in whatever order it comes to the disk: recovery looks.
//! **Invariant:** names are hints for people; base offset and first index are read from the head.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::checked::Checked;
use super::disk::Disk;
use super::durable_file::temporary;
use super::frame::Item;
use super::index::{Index, IndexEntry};
use super::log::KnownNewest;
use super::open_files::OpenFiles;
use super::remover::Remover;
use super::segment_files::{FileToWrite, SegmentFiles};
use super::segment_head::SegmentHead;
use super::slice_ends::SliceEnds;
use super::walker::{Cursor, Located, Step, Walker};
use super::{LogError, LogOptions};
use crate::model::{Offset, Timestamp};

const EXTENSION: &str = "log";
const UNKNOWN: u64 = u64::MAX;
const FRAMES_UNKNOWN: u32 = u32::MAX;

/// Where something ends: a segment, or the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) position: u64,
    pub(super) next_index: u64,
    pub(super) next_offset: Offset,
}

/// A file that is to be a segment: room, all of it zeros, under a name of its own.
pub(super) struct Prepared {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) allocated: u64,
}

/// A segment. Its file and index are opened at first use, and again where they were closed since.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) head: SegmentHead,
    pub(super) head_bytes: u64,
    files: Arc<SegmentFiles>,
    /// Bytes of a sealed segment, once known; else [`UNKNOWN`].
    sealed_len: AtomicU64,
    pub(super) checked: Checked,
    pub(super) slice_ends: SliceEnds,
    pub(super) newest: KnownNewest,
    /// `J` frames in it, once known; else [`FRAMES_UNKNOWN`].
    frames: AtomicU32,
}

impl Segment {
    /// Makes the file, or names one that was prepared. Unless `lazy` it is on disk, with its name, when
    /// this returns.
    pub(super) fn create(
        dir: &Path,
        name_taken: bool,
        head: SegmentHead,
        disk: &dyn Disk,
        open_files: &Arc<OpenFiles>,
        lazy: bool,
        prepared: Option<Prepared>,
    ) -> io::Result<Self> {
        let path = dir.join(file_name(head.base_offset, head.first_index, name_taken));
        let bytes = head.encode();
        let (temporary, file) = match prepared {
            Some(Prepared { path, file, .. }) => (path, file),
            None => {
                let temporary = temporary(&path);
                let file = disk.create(&temporary)?;
                (temporary, file)
            }
        };
        disk.write_bytes_at(&file, &bytes, 0)?;
        if !lazy {
            disk.sync_data(&file)?;
        }
        // An index of that name can only be a left-over of a truncation.
        disk.remove_if_there(&index_path(&path))?;
        disk.rename(&temporary, &path)?;
        if !lazy {
            disk.sync_dir(dir)?;
        }
        let segment = Self::with_head(path, head, bytes.len() as u64, open_files);
        if lazy {
            segment.files.note_write();
        }
        segment.files.set_file(file);
        segment.index().set_complete();
        segment.checked.note_from(0);
        segment.set_frames(0);
        Ok(segment)
    }

    /// A segment that is there, by its head.
    pub(super) fn with_head(
        path: PathBuf,
        head: SegmentHead,
        head_bytes: u64,
        open_files: &Arc<OpenFiles>,
    ) -> Self {
        let index = Index::new(index_path(&path), &head, Arc::clone(open_files));
        Self {
            path,
            head,
            head_bytes,
            files: SegmentFiles::new(index, Arc::clone(open_files)),
            sealed_len: AtomicU64::new(UNKNOWN),
            checked: Checked::nothing(),
            slice_ends: SliceEnds::default(),
            newest: KnownNewest::default(),
            frames: AtomicU32::new(FRAMES_UNKNOWN),
        }
    }

    /// The file, opened now if it is not.
    pub(super) fn file(&self) -> Result<Arc<File>, LogError> {
        self.files.file(&self.path).map_err(LogError::io("open", &self.path))
    }

    /// The file for a write, which keeps it open until a sync that begins afterwards is noted.
    pub(super) fn file_to_write(&self) -> Result<FileToWrite, LogError> {
        self.files.file_to_write(&self.path).map_err(LogError::io("open", &self.path))
    }

    /// How many writes a sync of the file covers that begins now.
    pub(super) fn writes(&self) -> u64 {
        self.files.writes()
    }

    /// Something is to be written, or was: the file stays open until a sync that covers it is noted.
    pub(super) fn note_write(&self) {
        self.files.note_write();
    }

    /// So many writes are on the disk.
    pub(super) fn note_synced(&self, writes: u64) {
        self.files.note_synced(writes);
    }

    pub(super) fn len(&self) -> Result<u64, LogError> {
        let meta = self.files.metadata().unwrap_or_else(|| fs::metadata(&self.path));
        Ok(meta.map_err(LogError::io("inspect", &self.path))?.len())
    }

    /// Bytes of a sealed segment.
    pub(super) fn sealed_len(&self) -> Result<u64, LogError> {
        let known = self.sealed_len.load(Ordering::Acquire);
        if known != UNKNOWN {
            return Ok(known);
        }
        let len = self.len()?;
        self.set_sealed_len(Some(len));
        Ok(len)
    }

    /// Notes the size of a segment that is sealed, or with `None` that it is appended to again.
    pub(super) fn set_sealed_len(&self, len: Option<u64>) {
        self.sealed_len.store(len.unwrap_or(UNKNOWN), Ordering::Release);
    }

    /// How many `J` frames it holds, at least those before every end that was shown; `None` while nobody
    /// has counted.
    pub(super) fn frames(&self) -> Option<u32> {
        let frames = self.frames.load(Ordering::Acquire);
        (frames != FRAMES_UNKNOWN).then_some(frames)
    }

    /// Notes the number of `J` frames, before an end behind them is shown.
    pub(super) fn set_frames(&self, frames: u32) {
        self.frames.store(frames, Ordering::Release);
    }

    /// When the file was last written to.
    pub(super) fn modified(&self) -> Result<Timestamp, LogError> {
        let inspect = || LogError::io("inspect", &self.path);
        let meta = fs::metadata(&self.path).map_err(inspect())?;
        let since = meta.modified().map_err(inspect())?.duration_since(UNIX_EPOCH);
        Ok(Timestamp(since.map_or(0, |since| since.as_millis() as i64)))
    }

    /// The index as it is in memory; `open` of the log loads the active segment's.
    pub(super) fn index(&self) -> &Index {
        self.files.index()
    }

    /// The first position of an entry.
    pub(super) fn begin(&self) -> (u64, Cursor) {
        let cursor = Cursor {
            next_index: self.head.first_index,
            next_offset: self.head.base_offset,
            term: self.head.term_before,
        };
        (self.head_bytes, cursor)
    }

    /// A walk over headers from the item that `find` picks in the index, which lies at or before the
    /// one wanted; also how many frames lie before it. An entry that its item does not confirm
    /// makes the index be built again.
    pub(super) fn walk_from(
        &self,
        end: &End,
        options: &LogOptions,
        find: impl Fn(&Index) -> io::Result<Option<IndexEntry>>,
    ) -> Result<(Walker, u32), LogError> {
        self.complete_index(end, options)?;
        let index = self.index();
        // Entries of items appended after `end` was read may be there already.
        let find = || {
            let found = match find(index) {
                Ok(Some(entry)) if entry.position >= end.position => {
                    index.last_where(|e| e.position < end.position)
                }
                found => found,
            };
            found.map_err(LogError::io("map", index.path()))
        };
        if let Some(entry) = find()? {
            let mut walker = self.walker_at(Some(&entry), end)?;
            let (at, cursor) = (walker.position, walker.cursor);
            if self.step(&mut walker)?.is_some() {
                (walker.position, walker.cursor) = (at, cursor);
                return Ok((walker, entry.frames_before));
            }
            tracing::warn!(path = %index.path().display(), "the index is wrong: rebuilding it");
            index.truncate_from(0, None).map_err(LogError::io("rebuild", index.path()))?;
            self.extend_index(end, options)?;
            if let Some(entry) = find()? {
                return Ok((self.walker_at(Some(&entry), end)?, entry.frames_before));
            }
        }
        Ok((self.walker_at(None, end)?, 0))
    }

    /// The next item of a walk over headers; `None` at its end or where an item does not continue.
    fn step(&self, walker: &mut Walker) -> Result<Option<Located>, LogError> {
        match walker.step().map_err(LogError::io("read", &self.path))? {
            Step::Item(located) => Ok(Some(located)),
            Step::End | Step::Bad(_) => Ok(None),
        }
    }

    /// A walk over headers from an index entry, or from the first item.
    pub(super) fn walker_at(
        &self,
        entry: Option<&IndexEntry>,
        end: &End,
    ) -> Result<Walker, LogError> {
        let (position, cursor) = self.start_at(entry);
        self.walker_from(position, cursor, end)
    }

    /// A walk over headers from the item at `position`, which is to continue `cursor`.
    pub(super) fn walker_from(
        &self,
        position: u64,
        cursor: Cursor,
        end: &End,
    ) -> Result<Walker, LogError> {
        Ok(Walker::headers(self.file()?, position, end.position, cursor))
    }

    /// Position and cursor of an index entry's item, or of the first.
    pub(super) fn start_at(&self, entry: Option<&IndexEntry>) -> (u64, Cursor) {
        match entry {
            Some(e) => {
                let term = Some(e.term);
                (e.position, Cursor { next_index: e.index, next_offset: e.offset, term })
            }
            None => self.begin(),
        }
    }

    /// Loads a sealed segment's index at first use and adds what is missing at its end.
    pub(super) fn complete_index(&self, end: &End, options: &LogOptions) -> Result<(), LogError> {
        let index = self.index();
        if index.is_complete() {
            return Ok(());
        }
        index.load(end.position).map_err(LogError::io("map", index.path()))?;
        self.extend_index(end, options)?;
        index.set_complete();
        Ok(())
    }

    fn extend_index(&self, end: &End, options: &LogOptions) -> Result<(), LogError> {
        let index = self.index();
        let last = index.last().map_err(LogError::io("map", index.path()))?;
        let mut walker = self.walker_at(last.as_ref(), end)?;
        let mut due = IndexDue::after(last.as_ref(), self.head_bytes);
        while let Some(located) = self.step(&mut walker)? {
            due.note(&located, index, options.index_interval_bytes);
        }
        if walker.position == end.position {
            // Where somebody counts, as in the segment that is appended to, this is old.
            let (unknown, order) = (FRAMES_UNKNOWN, Ordering::AcqRel);
            let _ = self.frames.compare_exchange(unknown, due.frames, order, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Opens a sealed segment's file and completes its index.
    pub(super) fn open(&self, end: &End, options: &LogOptions) -> Result<(), LogError> {
        self.file()?;
        self.complete_index(end, options)
    }

    /// As [`Self::open`], for good: readers need neither name from here on.
    pub(super) fn hold(&self, end: &End, options: &LogOptions) -> Result<(), LogError> {
        self.files.keep();
        self.open(end, options)?;
        // Closed since it was complete, perhaps.
        self.index().last().map_err(LogError::io("map", self.index().path())).map(drop)
    }

    /// The error for a walk that met something that does not belong there.
    pub(super) fn corrupt(&self, position: u64, what: impl Into<String>) -> LogError {
        LogError::Corrupt { path: self.path.clone(), position, what: what.into() }
    }

    /// Hands the file and its index over to be deleted: its entries are purged, and the log knows it no
    /// longer. Who reads it now can go on.
    pub(super) fn retire(self: &Arc<Self>, remover: &Remover) -> Result<(), LogError> {
        self.keep_for_readers(1);
        for path in [self.index().path(), &self.path] {
            remover.remove(path).map_err(LogError::io("delete", path))?;
        }
        Ok(())
    }

    /// Opens the files, for good, if more than the caller's `own` references are left: readers will go on
    /// when the names are gone. Where that fails, they will find out.
    pub(super) fn keep_for_readers(self: &Arc<Self>, own: usize) {
        if Arc::strong_count(self) > own {
            self.files.keep();
            let _ = self.file();
            let _ = self.index().last();
        }
    }

    /// Removes the file and its index.
    pub(super) fn delete(&self, disk: &dyn Disk) -> Result<(), LogError> {
        delete(&self.path, disk)
    }
}

/// Decides which items get an index entry, and carries what the entries count.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexDue {
    last_position: u64,
    /// Whether what comes before is a frame: the head, or a `J` frame.
    behind_frame: bool,
    pub(super) frames: u32,
    pub(super) max_timestamp: Timestamp,
}

impl IndexDue {
    /// Goes on from the item of `entry` (not yet noted), or from the first.
    pub(super) fn after(entry: Option<&IndexEntry>, head_bytes: u64) -> Self {
        match entry {
            Some(e) => Self {
                last_position: e.position,
                behind_frame: false,
                frames: e.frames_before,
                max_timestamp: e.max_timestamp,
            },
            None => Self {
                last_position: head_bytes,
                behind_frame: true,
                frames: 0,
                max_timestamp: Timestamp::NONE,
            },
        }
    }

    /// Notes the next item; gives it an entry when the last one lies far enough back, or where batches
    /// begin behind a frame.
    pub(super) fn note(&mut self, located: &Located, index: &Index, interval_bytes: u64) {
        let Located { item, position, .. } = located;
        let is_batch = matches!(item, Item::Batch(_));
        let begins_run = is_batch && self.behind_frame;
        if begins_run || position - self.last_position >= interval_bytes {
            index.push(&IndexEntry {
                offset: item.offset(),
                index: located.index,
                position: *position,
                frames_before: self.frames,
                begins_run,
                max_timestamp: self.max_timestamp,
                term: item.term() as u64,
            });
            self.last_position = *position;
        }
        self.behind_frame = !is_batch;
        match item {
            Item::Batch(header) => {
                self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
            }
            Item::Frame(_) => self.frames += 1,
        }
    }
}

fn file_name(base_offset: Offset, first_index: u64, taken: bool) -> String {
    if taken {
        format!("{:020}-{first_index:020}.{EXTENSION}", base_offset.0)
    } else {
        format!("{:020}.{EXTENSION}", base_offset.0)
    }
}

fn index_path(path: &Path) -> PathBuf {
    path.with_extension("index")
}

/// Whether a file name is a segment's.
pub(super) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == EXTENSION)
}

/// The base offset that the file at `path` is called by; `None` if that is no segment's name.
pub(super) fn named_offset(path: &Path) -> Option<Offset> {
    let name = path.file_stem()?.to_str()?;
    name.split('-').next()?.parse().ok().map(Offset)
}

/// Removes the file at `path` and its index.
pub(super) fn delete(path: &Path, disk: &dyn Disk) -> Result<(), LogError> {
    for path in [&*index_path(path), path] {
        disk.remove_if_there(path).map_err(LogError::io("delete", path))?;
    }
    Ok(())
}
