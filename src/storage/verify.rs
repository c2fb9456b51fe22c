//! Checks a log's folder offline: every CRC, offset and frame, and a hash to compare replicas by.
//!
//! The hash is XXH3-128 (crate `twox-hash`, which `lz4_flex` brings already) over the stamped batches,
//! one after the other, frames left out. Replicas whose committed records are the same have the same
//! hash over the same range of offsets. It finds differences, not forgery.
//!
//! **Invariant:** nothing is written, and nothing is repaired.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twox_hash::XxHash3_128;

use super::checkpoint::{Checkpoint, CheckpointFile};
use super::frame::Item;
use super::log::Chain;
use super::open_files::{OpenFiles, alone};
use super::retained::Retained;
use super::segment::Segment;
use super::walker::{Cursor, Located, Step, Walker};
use super::{EntryId, LogError, LogIdentity};
use crate::model::Offset;

/// Which records are hashed: those of batches within these offsets.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyRange {
    /// The first offset; the log's start offset if `None` or below it.
    pub from: Option<Offset>,
    /// The offset after the last (the committed end); the log's end if `None` or above it.
    pub upto: Option<Offset>,
    /// The last entry to hash (the committed one); the log's last if `None`.
    pub upto_index: Option<u64>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Where in it, bytes from its start.
    pub position: u64,
    /// What.
    pub what: String,
}

/// What a log's folder holds.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Whose log it is; `None` if no segment says.
    pub identity: Option<LogIdentity>,
    /// Segments.
    pub segments: usize,
    /// Sound entries.
    pub entries: u64,
    /// Batches among them.
    pub batches: u64,
    /// Records in those.
    pub records: u64,
    /// Bytes of sound entries and heads.
    pub bytes: u64,
    /// First retained offset.
    pub start_offset: Offset,
    /// Offset after the last record.
    pub end_offset: Offset,
    /// Last entry.
    pub last: Option<EntryId>,
    /// Bytes at the end that the next opening will cut: an append that no sync confirmed.
    pub torn_bytes: u64,
    /// The offsets that the hash covers, the second exclusive.
    pub hashed: (Offset, Offset),
    /// Records in those batches.
    pub hashed_records: u64,
    /// XXH3-128 of the batches in that range.
    pub hash: u128,
    /// All that is wrong; a segment is looked at up to its first problem.
    pub problems: Vec<Problem>,
}

/// Checks the log in `dir`, which no process may be writing to.
///
/// # Errors
/// [`LogError::Io`] only: what is wrong with the log goes into the report.
pub fn verify_log_dir(dir: &Path, range: VerifyRange) -> Result<VerifyReport, LogError> {
    let mut report = VerifyReport::default();
    let retained = match Retained::read(dir) {
        Ok(retained) => retained,
        Err(LogError::Corrupt { path, position, what }) => {
            report.problems.push(Problem { path, position, what });
            None
        }
        Err(error) => return Err(error),
    };
    let checkpoint =
        CheckpointFile::new(dir).read().map_err(LogError::io("read the checkpoint in", dir))?;
    report.start_offset = retained.map_or(Offset::ZERO, |r| r.start_offset);
    let from = range.from.unwrap_or(report.start_offset).max(report.start_offset);
    let mut verifier = Verifier {
        report,
        checkpoint,
        from,
        upto: range.upto.unwrap_or(Offset(i64::MAX)),
        upto_index: range.upto_index.unwrap_or(u64::MAX),
        hash: XxHash3_128::new(),
        hashed_end: from,
        cursor: None,
        ended: false,
    };
    let segments = verifier.segments(dir, retained.as_ref())?;
    for (at, segment) in segments.iter().enumerate() {
        if verifier.ended {
            verifier.report.torn_bytes += segment.len()?;
        } else {
            let next = segments.get(at + 1).map(|next| next.begin().1);
            verifier.segment(segment, next)?;
        }
    }
    let mut report = verifier.report;
    report.end_offset = verifier.cursor.map_or(report.start_offset, |c| c.next_offset);
    report.last = verifier
        .cursor
        .and_then(|c| Some(EntryId { term: c.term?, index: c.next_index.checked_sub(1)? }));
    report.hashed = (verifier.from, verifier.hashed_end);
    report.hash = verifier.hash.finish_128();
    Ok(report)
}

struct Verifier {
    report: VerifyReport,
    checkpoint: Option<Checkpoint>,
    from: Offset,
    upto: Offset,
    upto_index: u64,
    hash: XxHash3_128,
    hashed_end: Offset,
    /// Where the segments so far end.
    cursor: Option<Cursor>,
    /// The log ends there: what follows will be deleted.
    ended: bool,
}

impl Verifier {
    fn problem(&mut self, path: &Path, position: u64, what: impl Into<String>) {
        let problem = Problem { path: path.to_owned(), position, what: what.into() };
        self.report.problems.push(problem);
    }

    fn segments(
        &mut self,
        dir: &Path,
        retained: Option<&Retained>,
    ) -> Result<Vec<Arc<Segment>>, LogError> {
        // Read one by one, through files of their own.
        let open_files = Arc::new(OpenFiles::new(0, alone()));
        let chain = Chain::load(dir, retained, self.checkpoint.as_ref(), &open_files)?;
        let is_in_doubt = match chain.check_rest(dir, &self.checkpoint, retained, None) {
            Ok(()) => true,
            Err(LogError::Io { doing, path, source }) => {
                return Err(LogError::Io { doing, path, source });
            }
            Err(_) => false,
        };
        let Chain { mut segments, rest } = chain;
        for (path, segment) in rest {
            match segment {
                _ if is_in_doubt => {
                    let len = path.metadata().map_err(LogError::io("inspect", &path))?.len();
                    self.report.torn_bytes += len;
                }
                Ok(segment) => segments.push(Arc::new(segment)),
                Err(what) => self.problem(&path, 0, what),
            }
        }
        segments.sort_by_key(|s| s.head.first_index);
        self.report.segments = segments.len();
        self.report.identity = segments.first().map(|s| s.head.identity.clone());
        Ok(segments)
    }

    fn segment(&mut self, segment: &Segment, next: Option<Cursor>) -> Result<(), LogError> {
        let (position, cursor) = segment.begin();
        if self.cursor.is_some_and(|before| before != cursor) {
            self.problem(&segment.path, 0, "the segment does not follow the one before");
        }
        if self.report.identity.as_ref() != Some(&segment.head.identity) {
            self.problem(&segment.path, 0, format!("belongs to {}", segment.head.identity));
        }
        self.report.bytes += segment.head_bytes;
        let io = |e| LogError::io("read", &segment.path)(e);
        let file = Arc::new(File::open(&segment.path).map_err(io)?);
        let len = file.metadata().map_err(io)?.len();
        let mut walker = Walker::checking(Arc::clone(&file), position, len, cursor);
        let bad = loop {
            match walker.step().map_err(io)? {
                Step::Item(located) => self.item(&file, &located).map_err(io)?,
                Step::End => break None,
                Step::Bad(what) => break Some(what),
            }
        };
        let end = walker.position;
        self.cursor = Some(walker.cursor);
        let last = if end < len { walker.last_nonzero(end).map_err(io)? } else { None };
        let first_index = segment.head.first_index;
        let is_sealed = self.checkpoint.map_or(0, |c| c.segment) > first_index;
        let is_whole = next == self.cursor;
        let was_there = self
            .checkpoint
            .is_some_and(|c| c.segment == first_index && end < c.position && !is_whole);
        if is_sealed || was_there {
            if end < len || was_there || (next.is_some() && !is_whole) {
                let what = bad.unwrap_or_else(|| "ends too early".to_owned());
                self.problem(&segment.path, end, what);
            }
        } else if is_whole {
            // Not cut to its size yet.
        } else if bad.is_some() && walker.is_damage(end).map_err(io)? {
            let what = format!("{}; all of it was written once", bad.unwrap_or_default());
            self.problem(&segment.path, end, what);
        } else {
            self.report.torn_bytes += last.map_or(0, |last| last - end);
            self.ended = true;
        }
        Ok(())
    }

    fn item(&mut self, file: &File, located: &Located) -> std::io::Result<()> {
        self.report.entries += 1;
        self.report.bytes += located.item.size() as u64;
        let Item::Batch(header) = located.item else { return Ok(()) };
        self.report.batches += 1;
        self.report.records += u64::from(header.record_count.unsigned_abs());
        let below = header.next_offset() <= self.upto && located.index <= self.upto_index;
        if header.base_offset < self.from || !below {
            return Ok(());
        }
        let mut buffer = [0; 32 << 10];
        let mut at = located.position;
        while at < located.end() {
            let want = buffer.len().min((located.end() - at) as usize);
            file.read_exact_at(&mut buffer[..want], at)?;
            self.hash.write(&buffer[..want]);
            at += want as u64;
        }
        self.hashed_end = header.next_offset();
        self.report.hashed_records += u64::from(header.record_count.unsigned_abs());
        Ok(())
    }
}
