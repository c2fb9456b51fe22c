//! Finds the end of the last segment after a stop of any kind.
//!
//! The rule at the first thing that is not a sound, continuing entry, at position *p* and index *i*:
//!
//! | where | what it means | what is done |
//! |---|---|---|
//! | *p* below the recovery point, or *i* ≤ the durable hint | it was on disk once | `Corrupt`, or `Lost` if only zeros follow |
//! | after it, a sound entry follows directly, and no sector of the bad one reads as never written | no unfinished write looks so: the bytes were changed | `Corrupt` |
//! | else | an append that no sync confirmed, stopped half-way; its pages reach the disk in any order | cut at *p* |
//!
//! **Invariant:** what is cut was never confirmed by a sync of this node.
//! **Invariant:** behind a cut the file has no old bytes.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::storage::checkpoint::Checkpoint;
use crate::storage::epochs::Epochs;
use crate::storage::segment::{End, IndexDue, Segment};
use crate::storage::walker::{Step, Walker};
use crate::storage::{Disk, LogError, LogOptions, Storage};

use super::open::{Found, Recovery};

/// How much of a tail is written again at a time.
const REWRITE_BYTES: usize = 256 << 10;

/// A log's state as found on disk.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) end: End,
    pub(super) last_term: Option<u64>,
    pub(super) epochs: Epochs,
    pub(super) allocated: u64,
    pub(super) due: IndexDue,
    /// Whether all of it is known to be on disk.
    pub(super) durable: bool,
    /// Names, or where the log begins, may not be on the disk.
    pub(super) unsettled: bool,
    pub(super) report: Recovery,
}

pub(super) fn recover(
    dir: &Path,
    found: Found,
    options: &LogOptions,
    storage: &Storage,
    durable_hint: Option<u64>,
) -> Result<Recovered, LogError> {
    let Found { segments, retained, checkpoint, mut report } = found;
    let segment = Arc::clone(segments.last().expect("a log has a segment"));
    let file_len = segment.len()?;
    let point = recovery_point(dir, &segment, checkpoint, file_len)?;
    let mut scan = Scan::begin(&segment, options, point, file_len)?;
    let mut outcome = scan.run(&segment, options);
    if matches!(outcome, Ok(Some(_))) && scan.trusted_index {
        // The index may have led us astray: only the segment itself can say so.
        segment.index().truncate_from(0, None).map_err(LogError::io("rebuild", &segment.path))?;
        scan = Scan::begin(&segment, options, point, file_len)?;
        outcome = scan.run(&segment, options);
    }
    let bad = outcome?;
    segment.index().set_complete();
    segment.checked.note_from(scan.started_at);
    let cursor = scan.walker.cursor;
    let position = scan.walker.position;
    let end = End { position, next_index: cursor.next_index, next_offset: cursor.next_offset };
    let durable_index = durable_hint
        .max(checkpoint.and_then(|c| c.next_index.checked_sub(1)))
        .max(retained.map(|r| r.purged.index));
    if let Some(hint) = durable_index.filter(|hint| *hint >= end.next_index) {
        return Err(match scan.last_nonzero(&segment)? {
            Some(_) => segment.corrupt(
                position,
                format!(
                    "{}; entry {} was durable",
                    bad.unwrap_or_else(|| "zeros".to_owned()),
                    hint.min(end.next_index)
                ),
            ),
            None => LogError::Lost {
                path: dir.to_owned(),
                missing_index: end.next_index,
                durable_index: hint,
            },
        });
    }
    if bad.is_some() && scan.is_damage(&segment)? {
        let what = format!("{}; a sound entry follows it", bad.unwrap_or_default());
        return Err(segment.corrupt(position, what));
    }
    report.checked_bytes = position - scan.started_at;
    report.clean = checkpoint.is_some_and(|c| c.clean && c.position == position);
    let allocated = cut(&segment, &scan, &end, file_len, bad, storage, &mut report)?;
    // Without room behind the end, it was begun or cut just before the stop.
    let settled = report.clean || (point == position && file_len > position);
    if !settled && !report.created {
        // A segment that no recovery point speaks of may lack its head, too.
        let from = if point == segment.head_bytes { 0 } else { point };
        settle(dir, &segment, from..position, &*storage.disk)?;
    }
    let (durable, unsettled) = (!report.created, !report.clean);
    let mut epochs = scan.epochs;
    if let Some(retained) = retained {
        epochs.purge_before(retained.purged.index + 1, retained.start_offset);
    }
    let due = scan.due;
    let last_term = cursor.term;
    Ok(Recovered { segments, end, last_term, epochs, allocated, due, durable, unsettled, report })
}

/// Puts on the disk what a process that was killed left in the page cache: votes and answers will
/// count on it. All of it is written again, since that process may have ended because a sync failed:
/// then the system takes for written what is not, and a second sync would do nothing.
fn settle(
    dir: &Path,
    segment: &Segment,
    range: Range<u64>,
    disk: &dyn Disk,
) -> Result<(), LogError> {
    let file = segment.file()?;
    let mut at = range.start;
    let mut buffer = vec![0; REWRITE_BYTES.min((range.end - at) as usize)];
    while at < range.end {
        let bytes = (range.end - at).min(REWRITE_BYTES as u64) as usize;
        let part = &mut buffer[..bytes];
        file.read_exact_at(part, at).map_err(LogError::io("read", &segment.path))?;
        disk.write_bytes_at(&file, part, at).map_err(LogError::io("write to", &segment.path))?;
        at += bytes as u64;
    }
    disk.sync_data(&file).map_err(LogError::io("sync", &segment.path))?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    for dir in [Some(dir), parent].into_iter().flatten() {
        disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}

/// The position in the last segment up to which all is known to have been on disk.
fn recovery_point(
    dir: &Path,
    segment: &Segment,
    checkpoint: Option<Checkpoint>,
    file_len: u64,
) -> Result<u64, LogError> {
    let first = segment.head.first_index;
    let Some(checkpoint) = checkpoint.filter(|c| c.segment >= first) else {
        return Ok(segment.head_bytes);
    };
    if checkpoint.segment > first || checkpoint.position > file_len {
        return Err(LogError::Lost {
            path: dir.to_owned(),
            missing_index: first.max(checkpoint.segment),
            durable_index: checkpoint.next_index.saturating_sub(1),
        });
    }
    Ok(checkpoint.position.max(segment.head_bytes))
}

struct Scan {
    walker: Walker,
    started_at: u64,
    /// It began at an index entry.
    trusted_index: bool,
    due: IndexDue,
    epochs: Epochs,
    point: u64,
}

impl Scan {
    /// Begins a little before the recovery point, at an index entry if there is one.
    fn begin(
        segment: &Segment,
        options: &LogOptions,
        point: u64,
        file_len: u64,
    ) -> Result<Self, LogError> {
        let index = segment.index();
        let io = |e| LogError::io("map", index.path())(e);
        index.load(file_len).map_err(io)?;
        // Strictly before the point: an entry's term is only known to be so if its item is there.
        let recheck = options.recheck_bytes.max(1);
        let entry = index.floor_position(point.saturating_sub(recheck)).map_err(io)?;
        let (position, cursor) = segment.start_at(entry.as_ref());
        // They are made again by the scan.
        index.truncate_from(position + 1, None).map_err(io)?;
        let mut scan = Self {
            walker: Walker::checking(segment.file()?, position, file_len, cursor),
            started_at: position,
            trusted_index: entry.is_some(),
            due: IndexDue::after(entry.as_ref(), segment.head_bytes),
            epochs: segment.head.epochs.clone(),
            point,
        };
        scan.note_epochs_before(segment)?;
        Ok(scan)
    }

    /// The terms that began between the segment's head and the scan's beginning.
    fn note_epochs_before(&mut self, segment: &Segment) -> Result<(), LogError> {
        let end = End {
            position: self.walker.position,
            next_index: self.walker.cursor.next_index,
            next_offset: self.walker.cursor.next_offset,
        };
        let known = self.epochs.starts().last().map(|e| e.term);
        let index = segment.index();
        let changes = index.term_changes(known).map_err(LogError::io("map", index.path()))?;
        for (left, right) in changes {
            let mut walker = segment.walker_at(left.as_ref(), &end)?;
            while walker.position < right.position {
                match walker.step().map_err(LogError::io("read", &segment.path))? {
                    Step::Item(located) => {
                        let term = located.item.term() as u64;
                        self.epochs.note(term, located.index, located.item.offset());
                    }
                    // The scan from the segment's beginning will say what is wrong.
                    Step::End | Step::Bad(_) => return Ok(()),
                }
            }
            self.epochs.note(right.term, right.index, right.offset);
        }
        Ok(())
    }

    /// Checks entry by entry; what was wrong at the place where it stands now, `None` at zeros or at
    /// the end of the file.
    fn run(&mut self, segment: &Segment, options: &LogOptions) -> Result<Option<String>, LogError> {
        loop {
            match self.walker.step().map_err(LogError::io("read", &segment.path))? {
                Step::Item(located) => {
                    let term = located.item.term() as u64;
                    self.epochs.note(term, located.index, located.item.offset());
                    self.due.note(&located, segment.index(), options.index_interval_bytes);
                }
                Step::End if self.walker.position < self.point => {
                    return Ok(Some("zeros where an entry was".to_owned()));
                }
                Step::End => return Ok(None),
                Step::Bad(what) => return Ok(Some(what)),
            }
        }
    }

    fn last_nonzero(&mut self, segment: &Segment) -> Result<Option<u64>, LogError> {
        let from = self.walker.position;
        self.walker.last_nonzero(from).map_err(LogError::io("read", &segment.path))
    }

    fn is_damage(&mut self, segment: &Segment) -> Result<bool, LogError> {
        let at = self.walker.position;
        self.walker.is_damage(at).map_err(LogError::io("read", &segment.path))
    }
}

/// Cuts what lies behind the end, if it is not zeros; returns the file's size.
fn cut(
    segment: &Segment,
    scan: &Scan,
    end: &End,
    file_len: u64,
    bad: Option<String>,
    storage: &Storage,
    report: &mut Recovery,
) -> Result<u64, LogError> {
    let mut tail = Walker::checking(segment.file()?, end.position, file_len, scan.walker.cursor);
    let last = tail.last_nonzero(end.position).map_err(LogError::io("read", &segment.path))?;
    let Some(last) = last else { return Ok(file_len) };
    report.cut_bytes = last - end.position;
    let reason = bad.unwrap_or_else(|| "bytes behind the end".to_owned());
    let place = format!("{} at byte {}", segment.path.display(), end.position);
    report.cut_reason = Some(format!("{place}: {reason}"));
    segment
        .index()
        .truncate_from(end.position, Some(&*storage.disk))
        .map_err(LogError::io("sync", segment.index().path()))?;
    let file = segment.file()?;
    storage.disk.set_len(&file, end.position).map_err(LogError::io("cut", &segment.path))?;
    storage.disk.sync_data(&file).map_err(LogError::io("sync", &segment.path))?;
    tracing::warn!(
        bytes = report.cut_bytes,
        reason = report.cut_reason,
        "cut an append that was never confirmed"
    );
    Ok(end.position)
}
