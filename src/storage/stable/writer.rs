//! Writes records, and the state anew where a file is full.
//!
//! ```text
//! file 0: head │ state of then │ changes …… full      superseded │ …
//! file 1:                       ─── state ──► head │ state │ changes ……
//! ```
//! **Invariant:** a file is given up only when the other one is whole on the disk, in both copies.

use std::collections::HashMap;

use super::error::StableError;
use super::files::Files;
use super::record::{Body, RECORD_BYTES, Record, StableKey, StableValue};
use super::recovery::{Clean, State};

/// A change of the state.
pub(super) type Change = (StableKey, Option<StableValue>);

/// A file has room for so many records at least, and for four times the state when it is made larger.
/// Tests want files that are full soon.
const SLOTS_MIN: u32 = if cfg!(test) { 32 } else { 1024 };

pub(super) struct Writer {
    files: Files,
    at: Place,
    /// What found no room; written before anything else.
    unfinished: Option<Unfinished>,
    /// A file that is not needed any more, by the sequence number of its first record: it is to say so.
    outdated: Option<(usize, u64)>,
    /// Everything before this sequence number is on disk.
    durable: u64,
    /// The last record says so.
    is_closed: bool,
}

/// Where the next record goes.
#[derive(Clone, Copy)]
struct Place {
    /// The file that is written to.
    file: usize,
    /// Sequence number of its first record.
    base: u64,
    /// Its next free slot, and its number of slots.
    slot: u32,
    capacity: u32,
}

/// Records that may be on the disk in part. Other ones in their place, or behind them, could be taken for their
/// continuation.
struct Unfinished {
    begin: Place,
    end: Place,
    bytes: Vec<u8>,
}

impl Place {
    /// The sequence number of the next record.
    fn next(&self) -> u64 {
        self.base + u64::from(self.slot)
    }
}

impl Writer {
    /// Goes on where the last process closed the store.
    pub(super) fn go_on(files: Files, file: usize, clean: Clean) -> Self {
        let Clean { base, slot, capacity } = clean;
        let at = Place { file, base, slot, capacity };
        Self { is_closed: true, ..Self::at(files, at, at.next()) }
    }

    fn at(files: Files, at: Place, durable: u64) -> Self {
        Self { files, at, unfinished: None, outdated: None, durable, is_closed: false }
    }

    /// Writes `values` into the file that `found` does not need; on disk when this returns.
    pub(super) fn begin(
        files: Files,
        found: &State,
        values: &HashMap<StableKey, StableValue>,
    ) -> Result<Self, StableError> {
        let State { file, next, durable, .. } = *found;
        let at = Place { file, base: next, slot: 0, capacity: 0 };
        let mut writer = Self::at(files, at, durable);
        writer.write_to_other(values, found.base.map(|base| (file, base)))?;
        Ok(writer)
    }

    /// Whether so many records fit the file.
    pub(super) fn has_room(&self, records: usize) -> bool {
        // One stays free to close the store with.
        records < (self.at.capacity - self.at.slot) as usize
    }

    /// Writes changes, not on disk yet. There must be room.
    pub(super) fn append(&mut self, changes: &[Change]) -> Result<(), StableError> {
        let body = |(key, value): &Change| match value {
            Some(value) => Body::Put(*key, *value),
            None => Body::Remove(*key),
        };
        self.write(changes.iter().map(body))
    }

    /// Writes what found no room before.
    pub(super) fn finish(&mut self) -> Result<(), StableError> {
        if let Some(Unfinished { begin, end, bytes }) = &self.unfinished {
            self.files.write(begin.file, begin.slot, bytes)?;
            if begin.file != self.at.file {
                self.files.sync(begin.file)?;
                self.durable = end.next();
            }
            (self.at, self.is_closed) = (*end, false);
            self.unfinished = None;
        }
        if let Some((file, base)) = self.outdated {
            self.supersede(file, base)?;
            self.outdated = None;
        }
        Ok(())
    }

    /// Puts everything that was written on the disk.
    pub(super) fn sync(&mut self) -> Result<(), StableError> {
        self.files.sync(self.at.file)?;
        self.durable = self.at.next();
        Ok(())
    }

    /// Puts everything on the disk, and then says so there.
    pub(super) fn close(&mut self) -> Result<(), StableError> {
        if self.is_closed {
            return Ok(());
        }
        self.sync()?;
        self.write([Body::Closed])?;
        self.is_closed = true;
        self.sync()
    }

    /// Writes the whole state into the other file, and goes on there. On disk when this returns.
    pub(super) fn write_anew(
        &mut self,
        values: &HashMap<StableKey, StableValue>,
    ) -> Result<(), StableError> {
        let Place { file, base, .. } = self.at;
        self.write_to_other(values, Some((file, base)))
    }

    fn write_to_other(
        &mut self,
        values: &HashMap<StableKey, StableValue>,
        outdated: Option<(usize, u64)>,
    ) -> Result<(), StableError> {
        let entries = u32::try_from(values.len()).expect("fewer keys than a file has slots");
        let file = 1 - self.at.file;
        let capacity = self.capacity_for(file, entries)?;
        let begin = Place { file, base: self.at.next(), slot: 0, capacity };
        let head = Body::Head { entries, capacity };
        let puts = values.iter().map(|(key, value)| Body::Put(*key, *value));
        self.outdated = outdated;
        self.put(begin, [head].into_iter().chain(puts))
    }

    /// A file that is not needed any more must never be taken for the newest.
    fn supersede(&self, file: usize, base: u64) -> Result<(), StableError> {
        let record = Record { sequence: base, slot: 0, unsynced: 0, body: Body::Superseded };
        self.files.write(file, 0, &record.to_bytes())?;
        self.files.sync(file)
    }

    /// The slots of `file`. Where the state has grown it gets more, and so does the other one: when that is
    /// needed the disk may be full.
    fn capacity_for(&self, file: usize, entries: u32) -> Result<u32, StableError> {
        let found = self.files.slots(file)?;
        // The head, and a change at least behind it.
        let needed = entries + 3;
        if found >= SLOTS_MIN && found / 2 >= needed {
            return Ok(found);
        }
        let wanted = needed.saturating_mul(4).next_multiple_of(SLOTS_MIN);
        let taken = self.files.take_room(file, wanted).and_then(|()| {
            match self.files.slots(1 - file)? < wanted {
                true => self.files.take_room(1 - file, wanted),
                false => Ok(()),
            }
        });
        match taken {
            Ok(()) => Ok(wanted),
            Err(error) if error.is_full() && found >= needed => Ok(found),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, bodies: impl IntoIterator<Item = Body>) -> Result<(), StableError> {
        self.put(self.at, bodies)
    }

    /// Writes records from a place on. Those of a file that was not written to so far are on the disk when
    /// this returns.
    fn put(
        &mut self,
        begin: Place,
        bodies: impl IntoIterator<Item = Body>,
    ) -> Result<(), StableError> {
        assert!(self.unfinished.is_none(), "what found no room comes first");
        let mut bytes = Vec::new();
        let mut end = begin;
        for body in bodies {
            let (sequence, slot) = (end.next(), end.slot);
            let unsynced = u32::try_from(sequence - self.durable).expect("no more than a file");
            bytes.extend(Record { sequence, slot, unsynced, body }.to_bytes());
            end.slot += 1;
        }
        assert!(end.slot <= end.capacity, "room was looked for before");
        debug_assert_eq!(bytes.len(), (end.slot - begin.slot) as usize * RECORD_BYTES);
        self.unfinished = Some(Unfinished { begin, end, bytes });
        self.finish()
    }
}
