//! Stamps entries and writes them behind the log's end.
//!
//! ```text
//! entries ─► planned (stamp, check) ─► runs, one per segment ─► pwritev ─► index ─► view ─► cache
//! ```
//! **Invariant:** record bytes go from the caller's buffer to the file; only the first 16 bytes of a
//! batch are replaced, by a second `iovec`.
//! **Invariant:** an append is seen as a whole or, when it fails, not at all.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::model::record_batch::{self, BatchError, BatchHeader};
use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::storage::ballast::Need;
use crate::storage::cache::{Cached, CachedBody};
use crate::storage::error::is_full;
use crate::storage::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, Item};
use crate::storage::locks::{lock, read, write};
use crate::storage::segment::{End, IndexDue, Segment};
use crate::storage::walker::{Cursor, Located};
use crate::storage::{EntryBody, EntryId, LogEntry, LogError};
use bytes::Bytes;

use super::grow::Slot;
use super::output::Output;
use super::{Inner, Log};

/// Bytes of a batch that its stamp replaces.
const STAMP_BYTES: usize = 16;
/// `iovec`s that one `pwritev` takes on Linux (`IOV_MAX`).
const IOVECS_MAX: usize = 1024;

/// Longest wait before an append on a full disk is tried again.
const SPACE_WAIT: Duration = Duration::from_secs(1);

/// Where appended entries went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Per entry: the base offset of its batch; of a frame, the offset that the next batch gets.
    pub base_offsets: Vec<Offset>,
    /// The log's end offset now.
    pub end_offset: Offset,
    /// The log's last entry now.
    pub last: Option<EntryId>,
}

/// What only the writer needs.
pub(super) struct Writer {
    /// Size of the active segment's file: behind the end it holds zeros.
    pub(super) allocated: u64,
    /// More that was asked for.
    pub(super) growing: Option<Slot>,
    pub(super) output: Output,
    pub(super) due: IndexDue,
    /// Timestamp of the active segment's first batch, [`Timestamp::NONE`] without a batch; `None`
    /// until it is looked up.
    pub(super) first_timestamp: Option<Timestamp>,
    /// Since when the segment has been the active one, as far as this process knows.
    pub(super) since: Timestamp,
    pub(super) closed: bool,
}

/// An entry as it goes to the file: `lead`, then `rest`.
struct Planned {
    id: EntryId,
    item: Item,
    lead: [u8; FRAME_HEADER_BYTES],
    lead_len: usize,
    rest: Bytes,
    cached: CachedBody,
}

impl Log {
    /// Appends entries, stamping the base offset (the end offset) and the leader epoch (the term) into
    /// produced batches and verifying both in stamped ones. They are readable on return and on disk
    /// after a [`Log::sync`]. Waits for the disk where [`Log::has_to_sync`] says so.
    ///
    /// # Errors
    /// [`LogError::NotNext`], [`LogError::Diverged`], [`LogError::Batch`], [`LogError::Unstorable`],
    /// [`LogError::Full`]: nothing was appended. [`LogError::Failed`] after an earlier failure.
    pub fn append(&self, entries: &[LogEntry]) -> Result<Appended, LogError> {
        let inner = &*self.0;
        self.make_way(entries.iter().map(LogEntry::bytes).sum())?;
        let mut writer = lock(&inner.writer);
        inner.check_usable()?;
        if writer.closed {
            return Err(LogError::Failed { path: inner.dir.clone() });
        }
        let (planned, before) = inner.plan(entries)?;
        let mut rest = planned.as_slice();
        while !rest.is_empty() {
            match inner.append_run(&mut writer, rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => {
                    if rest.len() < planned.len() && inner.check_usable().is_ok() {
                        inner.take_back(&mut writer, before)?;
                    }
                    return Err(error);
                }
            }
        }
        let base_offsets = planned.iter().map(|p| p.item.offset()).collect();
        inner.cache.extend(planned.into_iter().map(Planned::into_cached).collect());
        let (end, last, first_index) = {
            let view = read(&inner.view);
            (view.end, view.last(), view.active().head.first_index)
        };
        self.0.grow_ahead(&mut writer, end.position);
        self.0.fill_ahead(&mut writer, end.position);
        self.0.prepare_next(end.position, first_index);
        self.0.flush_if_due();
        Ok(Appended { base_offsets, end_offset: end.next_offset, last })
    }
}

impl Log {
    /// Tries again what [may pass](LogError::may_pass), when there is space or after a while, as long as
    /// [`Log::stop_waiting`] was not called.
    ///
    /// # Errors
    /// Of `attempt`.
    pub fn patiently<T>(
        &self,
        attempt: impl Fn(&Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.0.patiently(|| attempt(self))
    }

    /// Appends what is to free space: on a full disk the ballast is given up
    /// for it.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_to_free(&self, entries: &[LogEntry]) -> Result<Appended, LogError> {
        self.0.storage.space.with_ballast(Need::Free, || self.append(entries))
    }

    /// Appends what is not records, for which a part of the ballast is there.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_to_go_on(&self, entries: &[LogEntry]) -> Result<Appended, LogError> {
        self.0.storage.space.with_ballast(Need::GoOn, || self.append(entries))
    }

    /// Whether the disk has room for records of producers.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.storage.space.has_room()
    }

    /// Whether `count` entries with so many bytes in all go into room that the log has taken already: a
    /// full disk does not refuse them.
    #[must_use]
    pub fn has_taken_room(&self, count: usize, bytes: u64) -> bool {
        let bytes = bytes + (count * FRAME_HEADER_BYTES) as u64;
        let allocated = lock(&self.0.writer).allocated;
        read(&self.0.view).end.position + bytes <= allocated.min(read(&self.0.roll).bytes)
    }

    /// From here on a full disk is an error at once: the log is about to be closed.
    pub fn stop_waiting(&self) {
        self.0.stopped.store(true, Ordering::Release);
    }
}

impl Inner {
    /// As [`Log::patiently`].
    pub(super) fn patiently<T>(
        &self,
        attempt: impl Fn() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let outcome = attempt();
            if !self.is_to_wait(&outcome) {
                return outcome;
            }
            (self.storage.wait)(&mut || self.storage.space.wait(SPACE_WAIT));
        }
    }

    /// Whether another attempt is to follow; says so.
    pub(super) fn is_to_wait<T>(&self, outcome: &Result<T, LogError>) -> bool {
        match outcome {
            Err(error) if error.may_pass() && !self.stopped.load(Ordering::Acquire) => {
                if let Some(held_back) = self.storage.waits.admit(Instant::now()) {
                    tracing::warn!(%error, held_back, "a log waits");
                }
                true
            }
            _ => false,
        }
    }

    /// Takes a part of an append back. Only a new start gets over it where that fails: whoever appends the same
    /// again believes that it is not there.
    fn take_back(&self, writer: &mut Writer, before: u64) -> Result<(), LogError> {
        let taken_back = self.insist(|| self.truncate_to(writer, before));
        taken_back.map_err(|error| self.failed("take back a part of an append in", error))
    }

    /// Stamps and checks; also the index that the first entry gets.
    fn plan(&self, entries: &[LogEntry]) -> Result<(Vec<Planned>, u64), LogError> {
        let (end, term, last) = {
            let view = read(&self.view);
            (view.end, view.last_term, view.last())
        };
        let mut cursor = Cursor { next_index: end.next_index, next_offset: end.next_offset, term };
        let mut planned = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryId { term, index } = entry.id;
            if index != cursor.next_index || cursor.term.is_some_and(|before| term < before) {
                let last = match planned.last() {
                    Some(Planned { id, .. }) => id.to_string(),
                    None => last.map_or("nothing".to_owned(), |l| l.to_string()),
                };
                return Err(LogError::NotNext { term, index, last });
            }
            let plan = Planned::new(entry, cursor.next_offset)?;
            if let Err(what) = cursor.admit(&plan.item) {
                return Err(LogError::Unstorable { index, what });
            }
            planned.push(plan);
        }
        Ok((planned, end.next_index))
    }

    /// Writes as many entries as go into the active segment, at least one; rolls before if none do. Where no
    /// other segment can be made, what is not records goes beyond the size of this one: it may be
    /// what frees space.
    fn append_run(&self, writer: &mut Writer, planned: &[Planned]) -> Result<usize, LogError> {
        let mut fit = self.count_fitting(writer, planned)?;
        if fit == 0 {
            fit = match self.roll(writer) {
                Ok(()) => self.count_fitting(writer, planned)?,
                Err(error) if error.may_pass() => {
                    let frames = planned.iter().take_while(|p| matches!(p.item, Item::Frame(_)));
                    Some(frames.count()).filter(|count| *count > 0).ok_or(error)?
                }
                Err(error) => return Err(error),
            };
        }
        let run = &planned[..fit];
        let (segment, end) = {
            let view = read(&self.view);
            (Arc::clone(view.active()), view.end)
        };
        let bytes: u64 = run.iter().map(|p| p.item.size() as u64).sum();
        self.allocate(writer, &segment, end.position + bytes)?;
        self.choose_output(writer, &segment, &end, end.position + bytes);
        self.write(writer, &segment, run, &end)?;
        let mut at = end.position;
        for plan in run {
            let located = Located { item: plan.item, position: at, index: plan.id.index };
            writer.due.note(&located, segment.index(), self.options.index_interval_bytes);
            writer.note_first(&plan.item);
            self.flush.note(&plan.item, plan.id.index);
            at = located.end();
        }
        segment.set_frames(writer.due.frames);
        self.show(run, at);
        // Behind it, so that no sync claims what it does not cover.
        self.flush.note_appended(bytes);
        Ok(fit)
    }

    /// How many of the entries the active segment takes. An empty one takes any first entry.
    fn count_fitting(&self, writer: &mut Writer, planned: &[Planned]) -> Result<usize, LogError> {
        let mut age = self.segment_age(writer)?;
        let bytes_max = read(&self.roll).bytes;
        let view = read(&self.view);
        let head = &view.active().head;
        let mut position = view.end.position;
        let mut empty = view.end.next_index == head.first_index;
        let fitting = planned.iter().take_while(|plan| {
            position += plan.item.size() as u64;
            let offsets = plan.item.next_offset().0 - head.base_offset.0;
            let fits = position <= bytes_max && offsets <= i64::from(i32::MAX);
            let young = age.admits(&plan.item);
            std::mem::take(&mut empty) || (fits && young)
        });
        Ok(fitting.count())
    }

    /// Makes the new entries visible.
    fn show(&self, run: &[Planned], position: u64) {
        let mut view = write(&self.view);
        for plan in run {
            view.epochs.note(plan.id.term, plan.id.index, plan.item.offset());
        }
        if let Some(last) = run.last() {
            view.last_term = Some(last.id.term);
            view.end = End {
                position,
                next_index: last.id.index + 1,
                next_offset: last.item.next_offset(),
            };
        }
    }

    /// Grows the file, by zeros, so that it holds `need` bytes: a write into allocated space cannot
    /// fail for lack of it, and a sync need not write a new size.
    fn allocate(&self, writer: &mut Writer, segment: &Segment, need: u64) -> Result<(), LogError> {
        if need <= writer.allocated {
            return Ok(());
        }
        if self.take_grown(writer, need) {
            return Ok(());
        }
        let (file, space) = (segment.file()?, &self.storage.space);
        let step = self.step(writer.allocated);
        let wish = self.next_length(writer.allocated, step).max(need);
        for target in [wish, need] {
            let len = target - writer.allocated;
            let disk = &*self.storage.disk;
            match disk.allocate(&file, writer.allocated, len) {
                Ok(()) => {
                    writer.allocated = target;
                    space.look();
                    return Ok(());
                }
                Err(error) if is_full(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    disk.set_len(&file, target)
                        .map_err(|error| self.fail("extend", &segment.path, error))?;
                    writer.output = Output::FileOnly;
                    writer.allocated = target;
                    return Ok(());
                }
                Err(error) => return Err(self.fail("extend", &segment.path, error)),
            }
        }
        let needed_bytes = need - writer.allocated;
        Err(LogError::Full { path: segment.path.clone(), needed_bytes })
    }

    fn write(
        &self,
        writer: &mut Writer,
        segment: &Segment,
        run: &[Planned],
        end: &End,
    ) -> Result<(), LogError> {
        let (file, disk) = (segment.file_to_write()?, &*self.storage.disk);
        let mut position = end.position;
        for part in run.chunks(IOVECS_MAX / 2) {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(part.len() * 2);
            for plan in part {
                slices.push(IoSlice::new(&plan.lead[..plan.lead_len]));
                if !plan.rest.is_empty() {
                    slices.push(IoSlice::new(&plan.rest));
                }
            }
            match self.put(&mut writer.output, &file, &mut slices, position) {
                Ok(written) => position += written,
                Err(error) if is_full(&error) => {
                    // What was written in part must not be found behind a shorter entry later.
                    disk.set_len(&file, end.position)
                        .map_err(|e| self.fail("cut", &segment.path, e))?;
                    writer.set_allocated(end.position);
                    let needed_bytes = run.iter().map(|p| p.item.size() as u64).sum();
                    return Err(LogError::Full { path: segment.path.clone(), needed_bytes });
                }
                Err(error) => return Err(self.fail("write to", &segment.path, error)),
            }
        }
        Ok(())
    }
}

impl Planned {
    fn new(entry: &LogEntry, offset: Offset) -> Result<Self, LogError> {
        let EntryId { term, index } = entry.id;
        let epoch = i32::try_from(term).map_err(|_| LogError::Unstorable {
            index,
            what: format!("term {term} is too large for a leader epoch"),
        })?;
        let (kind, body) = match &entry.body {
            EntryBody::Batch(bytes) | EntryBody::Produced(bytes) => {
                return Self::batch(entry, bytes, offset, LeaderEpoch(epoch));
            }
            EntryBody::Blank => (FrameKind::Blank, Bytes::new()),
            EntryBody::Membership(bytes) => (FrameKind::Membership, bytes.clone()),
            EntryBody::Command(bytes) => (FrameKind::Command, bytes.clone()),
            EntryBody::Void => (FrameKind::Void, Bytes::new()),
        };
        if body.len() > (i32::MAX / 2) as usize {
            let what = format!("{} bytes are too many", body.len());
            return Err(LogError::Unstorable { index, what });
        }
        let lead = FrameHeader::encode(kind, offset, epoch, index, &body);
        let item = Item::parse(&lead).expect("a frame that was just encoded");
        let cached = CachedBody::Ready(entry.body.clone());
        Ok(Self { id: entry.id, item, lead, lead_len: lead.len(), rest: body, cached })
    }

    fn batch(
        entry: &LogEntry,
        bytes: &Bytes,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> Result<Self, LogError> {
        let index = entry.id.index;
        let bad = |source| LogError::Batch { index, source };
        let mut header = BatchHeader::parse(bytes).map_err(bad)?;
        if header.size_bytes() != bytes.len() {
            return Err(bad(BatchError::Truncated {
                have: bytes.len(),
                need: header.size_bytes(),
            }));
        }
        let cached = if matches!(entry.body, EntryBody::Batch(_)) {
            if (header.base_offset, header.leader_epoch) != (offset, epoch) {
                return Err(LogError::Diverged {
                    index,
                    found_offset: header.base_offset,
                    found_epoch: header.leader_epoch.0.into(),
                    wanted_offset: offset,
                    wanted_epoch: entry.id.term,
                });
            }
            // It came from another node's memory or disk: nobody has looked at it here.
            record_batch::validate_stored(bytes).map_err(bad)?;
            CachedBody::Ready(entry.body.clone())
        } else {
            header.check_whole().map_err(bad)?;
            (header.base_offset, header.leader_epoch) = (offset, epoch);
            CachedBody::Unstamped(record_batch::stamped_prefix(bytes, offset, epoch), bytes.clone())
        };
        let mut lead = [0; FRAME_HEADER_BYTES];
        lead[..STAMP_BYTES].copy_from_slice(&record_batch::stamped_prefix(bytes, offset, epoch));
        Ok(Self {
            id: entry.id,
            item: Item::Batch(header),
            lead,
            lead_len: STAMP_BYTES,
            rest: bytes.slice(STAMP_BYTES..),
            cached,
        })
    }

    fn into_cached(self) -> Cached {
        Cached { id: self.id, body: self.cached }
    }
}
