//! Finds the stretches of segments that answer a fetch, without reading records a second time.
//!
//! ```text
//! index: floor of `from` ─► headers up to the batch that holds it
//!   ─► index: last entry within bytes, `upto` and before the next frame ─► headers to the last batch
//!   ─► behind a frame again, until bytes or `upto` are used up
//! ```
//! Who begins behind a frame or goes on where an answer ended, and takes so much that the index says
//! where to end, or all there is, is answered without a read of the log.
//!
//! **Invariant:** slices hold whole batches, in order, and no `J` frame; only the first batch may
//! exceed the byte limit, and only on request (KIP-74).
//! **Invariant:** a batch that is served had its CRC checked by this process, or was appended by it.

use std::ops::Range;
use std::sync::Arc;

use crate::model::record_batch::BatchHeader;
use crate::model::{Offset, Timestamp};
use crate::storage::frame::Item;
use crate::storage::index::Index;
use crate::storage::locks::read;
use crate::storage::slice_ends::Place;
use crate::storage::walker::{Cursor, Located, Step, Walker};
use crate::storage::{FileSlice, LogError, ReadWatch};

use super::view::Part;
use super::{Inner, Log};

/// A batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPosition {
    /// Its header, as stamped.
    pub header: BatchHeader,
    /// Its Raft index.
    pub index: u64,
}

/// What `slices` still may take.
struct Want {
    upto: Offset,
    bytes: usize,
    /// What it began with.
    bytes_max: usize,
    /// The first batch is taken whatever its size.
    one: bool,
    slices: Vec<FileSlice>,
    watch: Option<Arc<dyn ReadWatch>>,
}

impl Log {
    /// The batches from the one that contains `from` up to those whose base offset lies below `upto`, as
    /// few slices as there are frames and segments between them. Whole batches within `bytes_max`;
    /// the first one also above it if `min_one`. `upto` above the end offset means the end offset.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] when `from` lies below the start or above the end offset;
    /// [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn slices(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
        min_one: bool,
    ) -> Result<Vec<FileSlice>, LogError> {
        let (slices, watch) = (Vec::new(), self.0.watch.get().cloned());
        let mut want = Want { upto, bytes: bytes_max, bytes_max, one: min_one, slices, watch };
        let mut next = self.0.first_part(from, upto)?;
        while let Some(part) = next {
            if !self.slice_part(&part, from, &mut want)? || self.is_worth_little(want.bytes, &want)
            {
                break;
            }
            next = self.0.part_after(&part, upto)?;
        }
        Ok(want.slices)
    }

    /// The headers of the batches from the one that contains `from` up to those that begin below
    /// `upto`, in order. Reads no records but those that this process never checked.
    ///
    /// # Errors
    /// As [`Log::slices`]; the iterator's items too.
    pub fn batch_headers(&self, from: Offset, upto: Offset) -> Result<BatchHeaders, LogError> {
        let next = self.0.first_part(from, upto)?;
        Ok(BatchHeaders { log: Arc::clone(&self.0), next, walk: None, from, upto })
    }

    /// Adds the part's slices; whether to go on with the next part.
    fn slice_part(&self, part: &Part, from: Offset, want: &mut Want) -> Result<bool, LogError> {
        let from = from.max(part.segment.head.base_offset);
        // Where the slice that is being made begins; none before `from` and behind a frame.
        let mut open: Option<(u64, Cursor)> = None;
        // Where it is to end without a look at what follows.
        let mut last: Option<u64> = None;
        let (mut walker, mut frames) = match self.known_start(part, from)? {
            Some(Place { position, cursor, frames_before }) => {
                let begin = Place { position, cursor, frames_before };
                let known = self.furthest(part, begin, want)?;
                let checked = &part.segment.checked;
                let known = known.filter(|leap| checked.covers(&(position..leap.position)));
                if let Some(leap) = known {
                    (open, last) = (Some((position, cursor)), leap.last());
                    want.one = false;
                    (leap.walker(part)?, frames_before)
                } else {
                    (part.segment.walker_from(position, cursor, &part.end)?, frames_before)
                }
            }
            None => {
                let find = |index: &Index| index.floor_offset(from);
                part.segment.walk_from(&part.end, &self.0.options, find)?
            }
        };
        loop {
            let (at, cursor) = (walker.position, walker.cursor);
            let here = Place { position: at, cursor, frames_before: frames };
            if last == Some(at) {
                want.close(part, &mut open, here)?;
                return Ok(false);
            }
            let Some(located) = part.next(&mut walker)? else {
                want.close(part, &mut open, here)?;
                return Ok(true);
            };
            let size = located.item.size();
            match located.item {
                Item::Frame(_) => {
                    want.close(part, &mut open, here)?;
                    frames += 1;
                }
                Item::Batch(header) if header.next_offset() <= from => {}
                Item::Batch(header) => {
                    let used = (at - open.map_or(at, |(begin, _)| begin)) as usize;
                    let fits = used + size <= want.bytes || (want.one && open.is_none());
                    if header.base_offset >= want.upto || !fits {
                        want.close(part, &mut open, here)?;
                        return Ok(false);
                    }
                    if open.is_none() {
                        open = Some((at, cursor));
                        let begin = Place { cursor: walker.cursor, ..here };
                        let leap = self.furthest(part, begin, want)?;
                        if let Some(leap) = leap.filter(|l| l.position >= walker.position) {
                            last = leap.last();
                            walker = leap.walker(part)?;
                        }
                    }
                    want.one = false;
                }
            }
        }
    }

    /// The place of the batch that begins at `from`, if an answer ended there or a frame lies before it.
    fn known_start(&self, part: &Part, from: Offset) -> Result<Option<Place>, LogError> {
        let Part { segment, end, .. } = part;
        segment.complete_index(end, &self.0.options)?;
        let place = match segment.slice_ends.at(from) {
            None => {
                let index = segment.index();
                let entry = index.own_run_at(from).map_err(LogError::io("map", index.path()))?;
                entry.map(|entry| {
                    let (position, cursor) = segment.start_at(Some(&entry));
                    Place { position, cursor, frames_before: entry.frames_before }
                })
            }
            place => place,
        };
        Ok(place.filter(|place| place.position < end.position))
    }

    /// Whether `bytes` more are not worth a look at the log, beside all else that was taken.
    fn is_worth_little(&self, bytes: usize, want: &Want) -> bool {
        let least = want.bytes_max / 16;
        bytes <= least && self.0.options.index_interval_bytes as usize <= least
    }

    /// How far a slice may go that begins at `begin`, with no frame in between, without a look at the log.
    fn furthest(&self, part: &Part, begin: Place, want: &Want) -> Result<Option<Leap>, LogError> {
        let Part { segment, end, .. } = part;
        let Place { position, cursor, frames_before } = begin;
        let furthest = position.saturating_add(want.bytes as u64).min(end.position);
        let takes_all = furthest == end.position && end.next_offset <= want.upto;
        if takes_all && segment.frames() == Some(frames_before) {
            let (next_index, next_offset) = (end.next_index, end.next_offset);
            // Batches go on with the term that they follow.
            let cursor = Cursor { next_index, next_offset, ..cursor };
            return Ok(Some(Leap { position: end.position, cursor, is_full: false }));
        }
        let index = segment.index();
        let found = index.last_where_and_next(|e| {
            e.position <= furthest
                && e.position < end.position
                && e.offset <= want.upto
                && e.frames_before <= frames_before
        });
        let found = found.map_err(LogError::io("map", index.path()))?;
        let found = found.filter(|(entry, _)| entry.position > position);
        Ok(found.map(|(entry, next)| {
            // Before the next entry, or the end, less than an interval can fit.
            let is_full = next.map_or(end.position, |next| next.position) > furthest
                && self.is_worth_little(self.0.options.index_interval_bytes as usize, want);
            let (position, cursor) = segment.start_at(Some(&entry));
            Leap { position, cursor, is_full }
        }))
    }
}

/// How far a slice goes: an index entry's item, or the end of what there is.
struct Leap {
    position: u64,
    cursor: Cursor,
    /// Next to nothing goes into the slice behind it.
    is_full: bool,
}

impl Leap {
    fn last(&self) -> Option<u64> {
        self.is_full.then_some(self.position)
    }

    /// A walk on from there.
    fn walker(&self, part: &Part) -> Result<Walker, LogError> {
        part.segment.walker_from(self.position, self.cursor, &part.end)
    }
}

impl Inner {
    /// The segment in which a read of `from..upto` begins; `None` if it is empty.
    pub(super) fn first_part(&self, from: Offset, upto: Offset) -> Result<Option<Part>, LogError> {
        let view = read(&self.view);
        let (start, end) = (view.start_offset(), view.end.next_offset);
        if from < start || from > end {
            return Err(LogError::OffsetOutOfRange { offset: from, start, end });
        }
        if from >= upto.min(end) {
            return Ok(None);
        }
        view.part(view.segment_of_offset(from)).map(Some)
    }

    /// As [`Self::first_part`], but the first that may hold a batch as new as `timestamp`.
    pub(super) fn first_part_reaching(
        &self,
        timestamp: Timestamp,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<Part>, LogError> {
        let view = read(&self.view);
        if from >= upto.min(view.end.next_offset) {
            return Ok(None);
        }
        let at = view.segment_of_offset(from).max(view.times.first_reaching(timestamp));
        if view.segments[at].head.base_offset >= upto {
            return Ok(None);
        }
        view.part(at).map(Some)
    }

    /// The segment behind `part`, if it begins below `upto`.
    pub(super) fn part_after(&self, part: &Part, upto: Offset) -> Result<Option<Part>, LogError> {
        let view = read(&self.view);
        let at = view.segment_of_index(part.end.next_index);
        let head = &view.segments[at].head;
        if head.first_index != part.end.next_index || head.base_offset >= upto {
            return Ok(None);
        }
        view.part(at).map(Some)
    }
}

impl Want {
    /// Ends the slice that is being made at `end`.
    fn close(
        &mut self,
        part: &Part,
        open: &mut Option<(u64, Cursor)>,
        end: Place,
    ) -> Result<(), LogError> {
        if let Some((begin, cursor)) = open.take() {
            part.check(begin..end.position, cursor)?;
            let len = (end.position - begin) as usize;
            self.bytes = self.bytes.saturating_sub(len);
            let (segment, watch) = (Arc::clone(&part.segment), self.watch.clone());
            self.slices.push(FileSlice::new(segment, begin, len, watch));
            part.segment.slice_ends.note(end);
        }
        Ok(())
    }
}

impl Part {
    /// Checks the CRCs of the items in `range`, the first of which continues `cursor`, once.
    fn check(&self, range: Range<u64>, cursor: Cursor) -> Result<(), LogError> {
        let segment = &self.segment;
        if segment.checked.covers(&range) {
            return Ok(());
        }
        let file = segment.file()?;
        let mut walker = Walker::checking(file, range.start, range.end, cursor);
        while walker.position < range.end {
            if self.next(&mut walker)?.is_none() {
                break;
            }
        }
        segment.checked.note(range);
        Ok(())
    }

    /// The next item of a walk through this part.
    pub(super) fn next(&self, walker: &mut Walker) -> Result<Option<Located>, LogError> {
        match walker.step().map_err(LogError::io("read", &self.segment.path))? {
            Step::Item(located) => Ok(Some(located)),
            Step::End if walker.position < self.end.position => {
                Err(self.segment.corrupt(walker.position, "zeros in the middle of the log"))
            }
            Step::End => Ok(None),
            Step::Bad(what) => Err(self.segment.corrupt(walker.position, what)),
        }
    }
}

/// Goes over batch headers; see [`Log::batch_headers`]. Ends after an error.
pub struct BatchHeaders {
    log: Arc<Inner>,
    /// Where the walk goes on when this part's is over.
    next: Option<Part>,
    walk: Option<(Part, Walker)>,
    from: Offset,
    upto: Offset,
}

impl BatchHeaders {
    fn advance(&mut self) -> Result<Option<BatchPosition>, LogError> {
        loop {
            let Some((part, walker)) = &mut self.walk else {
                let Some(part) = self.next.take() else { return Ok(None) };
                let from = self.from;
                let (walker, _) = part
                    .segment
                    .walk_from(&part.end, &self.log.options, |i| i.floor_offset(from))?;
                self.walk = Some((part, walker));
                continue;
            };
            let cursor = walker.cursor;
            match part.next(walker)? {
                None => {
                    self.next = self.log.part_after(part, self.upto)?;
                    self.walk = None;
                }
                Some(located @ Located { item: Item::Batch(header), index, .. }) => {
                    if header.base_offset >= self.upto {
                        self.walk = None;
                    } else if header.next_offset() > self.from {
                        part.check(located.position..located.end(), cursor)?;
                        return Ok(Some(BatchPosition { header, index }));
                    }
                }
                Some(_) => {}
            }
        }
    }
}

impl Iterator for BatchHeaders {
    type Item = Result<BatchPosition, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            (self.next, self.walk) = (None, None);
        }
        result.transpose()
    }
}
