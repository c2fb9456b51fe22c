//! Copies a segment without the records that newer ones supersede, under a temporary name.
//!
//! ```text
//! items ─► verbatim until the first change ─► new file: what came before, then the rest
//!       ─► synced ─► read again from its beginning, every CRC ─► index ─► ready to be swapped in
//! ```
//! **Invariant:** frames, control batches and batches at or above the map's end are copied verbatim.
//! **Invariant:** what is handed out has been read back, and ends where the old segment ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::batch_filter::filter;
use crate::model::record_batch::BatchHeader;
use crate::model::records::{DECOMPRESSED_BYTES_MAX, Record};
use crate::model::{Offset, Timestamp};
use crate::storage::durable_file::temporary;
use crate::storage::frame::Item;
use crate::storage::index::Index;
use crate::storage::segment::IndexDue;
use crate::storage::walker::{Step, Walker};
use crate::storage::{Disk, LogError};

use super::super::view::Part;
use super::super::{Log, Watched};
use super::Compaction;
use super::items::Items;
use super::key_map::KeyMap;
use super::pass::uncompactable;

const BUFFER_BYTES: usize = 256 << 10;

/// What became of a segment.
pub(super) enum Outcome {
    /// There is nothing to drop.
    Same,
    /// The pace said so.
    Stopped,
    /// It goes in place of the old one.
    Cleaned(Cleaned),
}

/// A segment's new files, deleted unless they are put in place.
pub(super) struct Cleaned {
    pub(super) log: PathBuf,
    pub(super) index: PathBuf,
    pub(super) bytes: u64,
    pub(super) records_dropped: u64,
    disk: Arc<dyn Disk>,
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        // What is left is removed when the log is opened.
        let _ = self.disk.remove_if_there(&self.log);
        let _ = self.disk.remove_if_there(&self.index);
    }
}

/// Rewrites segments by one key map.
pub(super) struct Rewriter<'a> {
    log: &'a Log,
    map: &'a KeyMap,
    upto: Offset,
    now: Timestamp,
    /// Until when tombstones stay that are found now.
    horizon: Timestamp,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(log: &'a Log, map: &'a KeyMap, upto: Offset, job: &Compaction<'_>) -> Self {
        let horizon = Timestamp(job.now.0.saturating_add_unsigned(job.limits.tombstones_ms));
        Self { log, map, upto, now: job.now, horizon }
    }

    pub(super) fn rewrite(
        &self,
        part: &Part,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Outcome, LogError> {
        let mut items = Items::new(part)?;
        let mut output: Option<Output> = None;
        while let Some((located, bytes)) = items.next()? {
            let filtered = match &located.item {
                Item::Batch(header) if self.concerns(header) => {
                    filter(&bytes, DECOMPRESSED_BYTES_MAX, self.horizon, |record| {
                        self.keeps(header, record)
                    })
                    .map_err(|e| uncompactable(&part.segment, located.position, e.to_string()))?
                }
                _ => None,
            };
            let changed = filtered.is_some();
            let (bytes, dropped) = match filtered {
                Some(filtered) => (filtered.batch, filtered.dropped),
                None => (bytes, 0),
            };
            match &mut output {
                Some(output) => output.write(&bytes, dropped).map_err(|e| self.refused(e))?,
                None if changed => {
                    let begun = Output::begin(&self.log.0.storage.disk, part, located.position);
                    let mut begun = begun.map_err(|e| self.refused(e))?;
                    begun.write(&bytes, dropped).map_err(|e| self.refused(e))?;
                    output = Some(begun);
                }
                None => {}
            }
            items.wrote(output.as_ref().map_or(0, |_| bytes.len()));
            if !items.goes_on(pace) {
                return Ok(Outcome::Stopped);
            }
        }
        if !items.ends(pace) {
            return Ok(Outcome::Stopped);
        }
        match output {
            Some(output) => self.finish(part, output).map(Outcome::Cleaned),
            None => Ok(Outcome::Same),
        }
    }

    /// Whether a batch may have records to drop.
    fn concerns(&self, header: &BatchHeader) -> bool {
        header.base_offset < self.upto && !header.is_control() && header.record_count > 0
    }

    fn keeps(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return false };
        let newest = self.map.newest(key).is_none_or(|newest| record.offset >= newest);
        let past = header.delete_horizon().is_some_and(|horizon| self.now >= horizon);
        newest && (record.value.is_some() || !past)
    }

    /// Puts the file on the disk, reads it again, and makes its index.
    fn finish(&self, part: &Part, output: Output) -> Result<Cleaned, LogError> {
        let (file, cleaned) = output.end().map_err(|e| self.refused(e))?;
        let disk = Watched(&self.log.0);
        // The age of records without timestamps is that of their file.
        let modified = part.segment.file()?.metadata().and_then(|meta| meta.modified());
        modified.and_then(|time| file.set_modified(time)).map_err(|e| self.refused(e))?;
        disk.sync_data(&file).map_err(|e| self.refused(e))?;
        let index = self.read_again(part, file, &cleaned)?;
        index.seal(&disk).map_err(|e| self.refused(e))?;
        Ok(cleaned)
    }

    fn read_again(&self, part: &Part, file: File, cleaned: &Cleaned) -> Result<Index, LogError> {
        let head = &part.segment.head;
        let open_files = Arc::clone(&self.log.0.storage.open_files);
        let path = cleaned.index.clone();
        let index = Index::new(path, head, open_files);
        let (position, cursor) = part.segment.begin();
        let mut walker = Walker::checking(Arc::new(file), position, cleaned.bytes, cursor);
        let mut due = IndexDue::after(None, position);
        let interval = self.log.0.options.index_interval_bytes;
        let wrong = |position, what: String| {
            let what = format!("its compacted copy is not sound at byte {position}: {what}");
            uncompactable(&part.segment, position, what)
        };
        loop {
            match walker.step().map_err(LogError::io("read", &cleaned.log))? {
                Step::Item(located) => due.note(&located, &index, interval),
                Step::End => break,
                Step::Bad(what) => return Err(wrong(walker.position, what)),
            }
        }
        let (at, end) = (walker.cursor, &part.end);
        let ends = walker.position == cleaned.bytes
            && (at.next_index, at.next_offset) == (end.next_index, end.next_offset);
        if ends { Ok(index) } else { Err(wrong(walker.position, "it ends elsewhere".into())) }
    }

    fn refused(&self, error: io::Error) -> LogError {
        self.log.0.refused("compact a segment in", error)
    }
}

/// A new segment being written.
struct Output {
    file: File,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    cleaned: Cleaned,
}

impl Output {
    /// Begins with the part's first `position` bytes.
    fn begin(disk: &Arc<dyn Disk>, part: &Part, position: u64) -> io::Result<Self> {
        let (log, index) = (temporary(&part.segment.path), temporary(part.segment.index().path()));
        let file = disk.create(&log)?;
        let disk = Arc::clone(disk);
        let cleaned = Cleaned { log, index, bytes: 0, records_dropped: 0, disk };
        cleaned.disk.remove_if_there(&cleaned.index)?;
        let mut output = Self { file, buffer: Vec::new(), cleaned };
        let old = part.segment.file().map_err(io::Error::from)?;
        let mut at = 0;
        while at < position {
            let mut piece = vec![0; (position - at).min(BUFFER_BYTES as u64) as usize];
            old.read_exact_at(&mut piece, at)?;
            output.write(&piece, 0)?;
            at += piece.len() as u64;
        }
        Ok(output)
    }

    fn write(&mut self, bytes: &[u8], dropped: i32) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.cleaned.records_dropped += u64::from(dropped.unsigned_abs());
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.cleaned.disk.write_bytes_at(&self.file, &self.buffer, self.cleaned.bytes)?;
        self.cleaned.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<(File, Cleaned)> {
        self.flush()?;
        Ok((self.file, self.cleaned))
    }
}
