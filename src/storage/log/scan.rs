//! Goes through a segment from a little before the recovery point, checking entry by entry.

use crate::storage::epochs::Epochs;
use crate::storage::segment::{End, IndexDue, Segment};
use crate::storage::walker::{Cursor, Step, Walker};
use crate::storage::{LogError, LogOptions};

/// A scan and how far it came.
pub(super) struct Scan {
    pub(super) walker: Walker,
    pub(super) started_at: u64,
    /// It began at an index entry.
    trusted_index: bool,
    pub(super) due: IndexDue,
    pub(super) epochs: Epochs,
    pub(super) point: u64,
    /// What was wrong at the place where it stands, `None` at zeros or at the end of the file.
    pub(super) bad: Option<String>,
}

impl Scan {
    /// Scans `segment`, of which everything before `point` was on the disk. `next` is what the segment
    /// behind it continues, if there is one.
    pub(super) fn of(
        segment: &Segment,
        options: &LogOptions,
        point: u64,
        file_len: u64,
        next: Option<Cursor>,
    ) -> Result<Self, LogError> {
        let mut scan = Self::begin(segment, options, point, file_len)?;
        scan.run(segment, options)?;
        if scan.trusted_index && !scan.ends_well(next) {
            // The index may have led us astray: only the segment itself can say so.
            let io = LogError::io("rebuild", &segment.path);
            segment.index().truncate_from(0, None).map_err(io)?;
            scan = Self::begin(segment, options, point, file_len)?;
            scan.run(segment, options)?;
        }
        Ok(scan)
    }

    fn ends_well(&self, next: Option<Cursor>) -> bool {
        next.map_or(self.bad.is_none(), |next| self.walker.cursor == next)
    }

    /// Where it stands.
    pub(super) fn end(&self) -> End {
        let Walker { position, cursor, .. } = &self.walker;
        let Cursor { next_index, next_offset, .. } = *cursor;
        End { position: *position, next_index, next_offset }
    }

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
        let mut walker = Walker::checking(segment.file()?, position, file_len, cursor);
        walker.note_data_end().map_err(LogError::io("look into", &segment.path))?;
        let mut scan = Self {
            walker,
            started_at: position,
            trusted_index: entry.is_some(),
            due: IndexDue::after(entry.as_ref(), segment.head_bytes),
            epochs: segment.head.epochs.clone(),
            point,
            bad: None,
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

    fn run(&mut self, segment: &Segment, options: &LogOptions) -> Result<(), LogError> {
        loop {
            match self.walker.step().map_err(LogError::io("read", &segment.path))? {
                Step::Item(located) => {
                    let term = located.item.term() as u64;
                    self.epochs.note(term, located.index, located.item.offset());
                    self.due.note(&located, segment.index(), options.index_interval_bytes);
                }
                Step::End => {
                    let is_short = self.walker.position < self.point;
                    self.bad = is_short.then(|| "zeros where an entry was".to_owned());
                    return Ok(());
                }
                Step::Bad(what) => {
                    self.bad = Some(what);
                    return Ok(());
                }
            }
        }
    }

    /// See [`Walker::last_nonzero`], of what lies behind.
    pub(super) fn last_nonzero(&mut self, segment: &Segment) -> Result<Option<u64>, LogError> {
        let from = self.walker.position;
        self.walker.last_nonzero(from).map_err(LogError::io("read", &segment.path))
    }

    /// See [`Walker::is_damage`].
    pub(super) fn is_damage(&mut self, segment: &Segment) -> Result<bool, LogError> {
        let at = self.walker.position;
        self.walker.is_damage(at).map_err(LogError::io("read", &segment.path))
    }
}
