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
    /// The file that is written to.
    file: usize,
    /// Sequence number of its first record.
    base: u64,
    /// Its next free slot, and its number of slots.
    slot: u32,
    capacity: u32,
    /// Everything before this sequence number is on disk.
    durable: u64,
    /// The last record says so.
    is_closed: bool,
}

impl Writer {
    /// Goes on where the last process closed the store.
    pub(super) fn go_on(files: Files, file: usize, at: Clean) -> Self {
        let durable = at.base + u64::from(at.slot);
        let Clean { base, slot, capacity } = at;
        Self { files, file, base, slot, capacity, durable, is_closed: true }
    }

    /// Writes `values` into the file that `found` does not need; on disk when this returns.
    pub(super) fn begin(
        files: Files,
        found: &State,
        values: &HashMap<StableKey, StableValue>,
    ) -> Result<Self, StableError> {
        let State { file, next, durable, .. } = *found;
        let mut writer =
            Self { files, file, base: next, slot: 0, capacity: 0, durable, is_closed: false };
        writer.write_to_other(values)?;
        if let Some(base) = found.base {
            writer.supersede(file, base)?;
        }
        Ok(writer)
    }

    /// Whether so many records fit the file.
    pub(super) fn has_room(&self, records: usize) -> bool {
        // One stays free to close the store with.
        records < (self.capacity - self.slot) as usize
    }

    /// Writes changes, not on disk yet. There must be room.
    pub(super) fn append(&mut self, changes: &[Change]) -> Result<(), StableError> {
        let body = |(key, value): &Change| match value {
            Some(value) => Body::Put(*key, *value),
            None => Body::Remove(*key),
        };
        self.write(changes.iter().map(body))
    }

    /// Puts everything that was written on the disk.
    pub(super) fn sync(&mut self) -> Result<(), StableError> {
        self.files.sync(self.file)?;
        self.durable = self.next();
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
        let (file, base) = (self.file, self.base);
        self.write_to_other(values)?;
        self.supersede(file, base)
    }

    fn write_to_other(
        &mut self,
        values: &HashMap<StableKey, StableValue>,
    ) -> Result<(), StableError> {
        let entries = u32::try_from(values.len()).expect("fewer keys than a file has slots");
        let other = 1 - self.file;
        let capacity = self.capacity_for(other, entries)?;
        (self.base, self.slot, self.capacity) = (self.next(), 0, capacity);
        self.file = other;
        let head = Body::Head { entries, capacity };
        let puts = values.iter().map(|(key, value)| Body::Put(*key, *value));
        self.write([head].into_iter().chain(puts))?;
        self.sync()
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

    fn next(&self) -> u64 {
        self.base + u64::from(self.slot)
    }

    fn write(&mut self, bodies: impl IntoIterator<Item = Body>) -> Result<(), StableError> {
        let mut bytes = Vec::new();
        let (first, mut slot) = (self.slot, self.slot);
        for body in bodies {
            let sequence = self.base + u64::from(slot);
            let unsynced = u32::try_from(sequence - self.durable).expect("no more than a file");
            bytes.extend(Record { sequence, slot, unsynced, body }.to_bytes());
            slot += 1;
        }
        assert!(slot <= self.capacity, "room was looked for before");
        self.files.write(self.file, first, &bytes)?;
        self.slot = slot;
        self.is_closed = false;
        debug_assert_eq!(bytes.len(), (slot - first) as usize * RECORD_BYTES);
        Ok(())
    }
}
