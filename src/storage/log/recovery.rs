//! Finds the log's end after a stop of any kind.
//!
//! Segments before the recovery point's are whole. From there on each is gone through, as long as it ends
//! just where the next one begins; the first that does not is the last, and what lies behind it is deleted.
//!
//! The rule at the first thing that is not a sound, continuing entry, at position *p* and index *i*:
//!
//! | where | what it means | what is done |
//! |---|---|---|
//! | *p* below the recovery point | it was on disk once | `Corrupt`, or `Lost` if only zeros follow |
//! | after it, and it was written as a whole ([`Scan::is_damage`]) | no unfinished write looks so: the bytes were changed | `Corrupt` |
//! | else, and *i* ≤ the durable hint | it was on disk once, as only the caller knows | `Short` |
//! | else | an append that no sync confirmed, stopped half-way; its pages reach the disk in any order | cut at *p* |
//!
//! **Invariant:** what is cut was never confirmed by a sync of this node.
//! **Invariant:** behind a cut the file has no old bytes.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::checkpoint::{Checkpoint, CheckpointFile};
use crate::storage::epochs::Epochs;
use crate::storage::segment::{self, End, IndexDue, Segment};
use crate::storage::{Disk, LogError, LogOptions, Storage};

use super::open::{Found, Recovery, lost};
use super::scan::Scan;

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
    let Found { mut segments, rest, retained, checkpoint, mut report } = found;
    let (first, mut point) = recovery_point(dir, &segments, checkpoint)?;
    let mut looked_at = Vec::new();
    let (mut scan, file_len) = loop {
        let at = first + looked_at.len();
        let segment = &segments[at];
        let file_len = segment.len()?;
        let next = segments.get(at + 1).map(|next| next.begin().1);
        let scan = Scan::of(segment, options, point, file_len, next)?;
        segment.index().set_complete();
        segment.checked.note_from(scan.started_at);
        report.checked_bytes += scan.walker.position - scan.started_at;
        // A segment that no recovery point speaks of may lack its head, too.
        let from = if point == segment.head_bytes { 0 } else { point };
        looked_at.push((Arc::clone(segment), from..scan.walker.position));
        if next != Some(scan.walker.cursor) {
            break (scan, file_len);
        }
        point = segments[at + 1].head_bytes;
    };
    let segment = Arc::clone(&segments[first + looked_at.len() - 1]);
    let later = segments.split_off(first + looked_at.len());
    if scan.point > file_len {
        return Err(lost(dir, segment.head.first_index, last_of(checkpoint)));
    }
    let end = scan.end();
    let noted = checkpoint.and_then(|c| c.next_index.checked_sub(1));
    let durable_index = noted.max(retained.map(|r| r.purged.index));
    if let Some(durable_index) = durable_index.filter(|index| *index >= end.next_index) {
        return Err(missing(dir, &segment, &mut scan, durable_index)?);
    }
    if scan.bad.is_some() && scan.is_damage(&segment)? {
        let what = format!("{}; all of it was written once", scan.bad.unwrap_or_default());
        return Err(segment.corrupt(end.position, what));
    }
    if let Some(durable_index) = durable_hint.filter(|hint| *hint >= end.next_index) {
        let bad = scan.bad.unwrap_or_else(|| "nothing follows".to_owned());
        let what = format!("{} at byte {}: {bad}", segment.path.display(), end.position);
        let (path, missing_index) = (dir.to_owned(), end.next_index);
        return Err(LogError::Short { path, missing_index, durable_index, what });
    }
    let disk = &*storage.disk;
    let is_as_left = looked_at.len() == 1 && later.is_empty() && rest.is_empty();
    report.clean = is_as_left && checkpoint.is_some_and(|c| c.clean && c.position == end.position);
    drop_later(dir, &later, &rest, disk)?;
    let allocated = cut(&segment, &mut scan, &end, file_len, storage, &mut report)?;
    // Without room behind the end, it was begun or cut just before the stop.
    let is_settled = report.clean || (scan.point == end.position && file_len > end.position);
    if !(report.created || is_as_left && is_settled) {
        settle(dir, &looked_at, disk)?;
    }
    if !is_as_left {
        // Closed segments are sealed now, and must not be found otherwise.
        let (next_index, next_offset) = (end.next_index, end.next_offset);
        let (segment, position) = (segment.head.first_index, end.position);
        let point = Checkpoint { segment, position, next_index, next_offset, clean: false };
        CheckpointFile::new(dir)
            .write_durably(&point, disk)
            .map_err(LogError::io("sync the checkpoint in", dir))?;
    }
    // A purge does not take back that the log was closed cleanly before.
    let (durable, unsettled) = (!report.created, !report.clean || retained.is_some());
    let Scan { mut epochs, due, walker, .. } = scan;
    if let Some(retained) = retained {
        epochs.purge_before(retained.purged.index + 1, retained.start_offset);
    }
    let last_term = walker.cursor.term;
    Ok(Recovered { segments, end, last_term, epochs, allocated, due, durable, unsettled, report })
}

/// What an entry that was durable and is not there leads to.
fn missing(
    dir: &Path,
    segment: &Segment,
    scan: &mut Scan,
    durable_index: u64,
) -> Result<LogError, LogError> {
    let End { position, next_index, .. } = scan.end();
    if scan.last_nonzero(segment)?.is_none() {
        return Ok(lost(dir, next_index, durable_index));
    }
    let bad = scan.bad.take().unwrap_or_else(|| "zeros".to_owned());
    let what = format!("{bad}; entry {} was durable", durable_index.min(next_index));
    Ok(segment.corrupt(position, what))
}

fn last_of(checkpoint: Option<Checkpoint>) -> u64 {
    checkpoint.map_or(0, |point| point.next_index.saturating_sub(1))
}

/// Deletes what lies behind the log's end: the machine stopped before any of it was durable.
pub(super) fn drop_later(
    dir: &Path,
    later: &[Arc<Segment>],
    rest: &[PathBuf],
    disk: &dyn Disk,
) -> Result<(), LogError> {
    let later = later.iter().rev().map(|segment| &segment.path);
    for path in rest.iter().chain(later) {
        tracing::warn!(path = %path.display(), "deleted: of a segment that was never confirmed");
        segment::delete(path, disk)?;
        // Its name would be found again beside what the log goes on with.
        disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}

/// Puts on the disk what a process that was killed left in the page cache: votes and answers will
/// count on it. All of it is written again, since that process may have ended because a sync failed:
/// then the system takes for written what is not, and a second sync would do nothing. A closed segment
/// is cut to its size.
fn settle(
    dir: &Path,
    looked_at: &[(Arc<Segment>, Range<u64>)],
    disk: &dyn Disk,
) -> Result<(), LogError> {
    let last = looked_at.len() - 1;
    for (at, (segment, range)) in looked_at.iter().enumerate() {
        // Held from the first write to the sync, so that it is not closed in between.
        let file = segment.file()?;
        write_again(segment, &file, range, disk)?;
        if at < last {
            if segment.len()? != range.end {
                disk.set_len(&file, range.end).map_err(LogError::io("cut", &segment.path))?;
            }
            segment.set_sealed_len(Some(range.end));
        }
        disk.sync_data(&file).map_err(LogError::io("sync", &segment.path))?;
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    for dir in [Some(dir), parent].into_iter().flatten() {
        disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}

fn write_again(
    segment: &Segment,
    file: &File,
    range: &Range<u64>,
    disk: &dyn Disk,
) -> Result<(), LogError> {
    let mut at = range.start;
    let mut buffer = vec![0; REWRITE_BYTES.min(range.end.saturating_sub(at) as usize)];
    while at < range.end {
        let bytes = (range.end - at).min(REWRITE_BYTES as u64) as usize;
        let part = &mut buffer[..bytes];
        file.read_exact_at(part, at).map_err(LogError::io("read", &segment.path))?;
        disk.write_bytes_at(file, part, at).map_err(LogError::io("write to", &segment.path))?;
        at += bytes as u64;
    }
    Ok(())
}

/// The first segment of which not everything is known to be on the disk, and the position in it up to
/// which it is.
fn recovery_point(
    dir: &Path,
    segments: &[Arc<Segment>],
    checkpoint: Option<Checkpoint>,
) -> Result<(usize, u64), LogError> {
    let last = segments.last().expect("a log has a segment").head.first_index;
    let segment = checkpoint.map_or(0, |c| c.segment);
    if segment > last {
        return Err(lost(dir, segment, last_of(checkpoint)));
    }
    let at = segments.partition_point(|s| s.head.first_index <= segment).saturating_sub(1);
    let Segment { head, head_bytes, .. } = &*segments[at];
    // One that speaks of a segment that is gone says nothing about this one.
    let point = checkpoint.filter(|c| c.segment == head.first_index).map_or(0, |c| c.position);
    Ok((at, point.max(*head_bytes)))
}

/// Cuts what lies behind the end, if it is not zeros; returns the file's size.
fn cut(
    segment: &Segment,
    scan: &mut Scan,
    end: &End,
    file_len: u64,
    storage: &Storage,
    report: &mut Recovery,
) -> Result<u64, LogError> {
    let Some(last) = scan.last_nonzero(segment)? else { return Ok(file_len) };
    report.cut_bytes = last - end.position;
    let reason = scan.bad.clone().unwrap_or_else(|| "bytes behind the end".to_owned());
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
