//! The record: 64 bytes, so that eight fill a sector and none lies in two. All integers are big-endian.
//!
//! ```text
//!  0  u32  CRC-32C of bytes 4–63
//!  4  u8   version, 1
//!  5  u8   type: 1 head, 2 put, 3 remove, 4 closed, 5 superseded
//!  6  u8   kind of the key
//!  7  u8   bytes of the value
//!  8  u64  sequence number
//! 16  u32  slot: the record's place in its file
//! 20  u32  records before this one that were not known to be on disk
//! 24  20   owner of the key
//! 44  20   value, then zeros
//! head's value: u32 entries that follow it as the state of then, u32 slots that the file has room for
//! ```
//! **Invariant:** a record is sound at its own place only: one that was written elsewhere is none.

/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 64;
const VERSION: u8 = 1;
const OWNER: usize = 24;
const VALUE: usize = 44;

/// What is remembered, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StableKey {
    /// Of whom.
    pub owner: [u8; 20],
    /// What.
    pub kind: u8,
}

/// What a key is set to: up to [`StableValue::BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StableValue {
    len: u8,
    bytes: [u8; Self::BYTES_MAX],
}

impl StableValue {
    /// The most that fits a record.
    pub const BYTES_MAX: usize = RECORD_BYTES - VALUE;

    /// # Panics
    /// If `value` is longer than [`Self::BYTES_MAX`].
    #[must_use]
    pub fn new(value: &[u8]) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..value.len()].copy_from_slice(value);
        Self { len: value.len() as u8, bytes }
    }

    /// The bytes that it was made of.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A change of the state, or what is to be known of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The first record of a file: so many records behind it are the state when it was begun.
    Head { entries: u32, capacity: u32 },
    /// From now on the key has this value.
    Put(StableKey, StableValue),
    /// From now on it has none.
    Remove(StableKey),
    /// Everything before it was on disk when it was written, and nothing was to follow.
    Closed,
    /// In the place of a head: the other file is whole and on disk, this one is of the past.
    Superseded,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) slot: u32,
    /// How many records before it were not known to be on disk.
    pub(super) unsynced: u32,
    pub(super) body: Body,
}

impl Record {
    /// Sequence number of the first record of its file.
    pub(super) fn base(&self) -> u64 {
        self.sequence - u64::from(self.slot)
    }

    /// Up to which sequence number (exclusive) everything was on disk when this was written.
    pub(super) fn durable(&self) -> u64 {
        self.sequence - u64::from(self.unsynced)
    }

    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let none = StableKey { owner: [0; 20], kind: 0 };
        let (kind, key, value) = match self.body {
            Body::Head { entries, capacity } => {
                let mut value = [0; 8];
                value[..4].copy_from_slice(&entries.to_be_bytes());
                value[4..].copy_from_slice(&capacity.to_be_bytes());
                (1, none, StableValue::new(&value))
            }
            Body::Put(key, value) => (2, key, value),
            Body::Remove(key) => (3, key, StableValue::new(&[])),
            Body::Closed => (4, none, StableValue::new(&[])),
            Body::Superseded => (5, none, StableValue::new(&[])),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[4..8].copy_from_slice(&[VERSION, kind, key.kind, value.len]);
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.slot.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.unsynced.to_be_bytes());
        bytes[OWNER..VALUE].copy_from_slice(&key.owner);
        bytes[VALUE..].copy_from_slice(&value.bytes);
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The record in `slot`, if it is sound.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_BYTES], slot: u32) -> Option<Self> {
        let u32_at = |at: usize| u32::from_be_bytes(array(&bytes[at..at + 4]));
        if u32_at(0) != crc32c::crc32c(&bytes[4..]) || bytes[4] != VERSION || u32_at(16) != slot {
            return None;
        }
        let key = StableKey { owner: array(&bytes[OWNER..VALUE]), kind: bytes[6] };
        let len = usize::from(bytes[7]);
        let value = StableValue::new(bytes[VALUE..].get(..len)?);
        let body = match bytes[5] {
            1 => Body::Head { entries: u32_at(VALUE), capacity: u32_at(VALUE + 4) },
            2 => Body::Put(key, value),
            3 => Body::Remove(key),
            4 => Body::Closed,
            5 => Body::Superseded,
            _ => return None,
        };
        let sequence = u64::from_be_bytes(array(&bytes[8..16]));
        let unsynced = u32_at(20);
        let is_possible = sequence >= u64::from(slot) && sequence >= u64::from(unsynced);
        is_possible.then_some(Self { sequence, slot, unsynced, body })
    }
}

/// The bytes of a field, whose length its caller has cut.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let key = StableKey { owner: std::array::from_fn(|at| at as u8), kind: b'v' };
        let body = Body::Put(key, StableValue::new(&[0xAA, 0xBB]));
        let record = Record { sequence: 0x0102, slot: 5, unsynced: 2, body };
        let bytes = record.to_bytes();
        let mut golden = [0; RECORD_BYTES];
        golden[4..8].copy_from_slice(&[1, 2, b'v', 2]);
        golden[14..16].copy_from_slice(&[1, 2]);
        (golden[19], golden[23]) = (5, 2);
        (0..20).for_each(|at| golden[24 + at] = at as u8);
        golden[44..46].copy_from_slice(&[0xAA, 0xBB]);
        assert_eq!(bytes[4..], golden[4..]);
        assert_eq!(Record::from_bytes(&bytes, 5), Some(record));
        assert_eq!((record.base(), record.durable()), (0xFD, 0x100));
        assert_eq!(Record::from_bytes(&bytes, 4), None, "not its place");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let record = Record {
            sequence: 9,
            slot: 0,
            unsynced: 0,
            body: Body::Head { entries: 3, capacity: 8 },
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes, 0), Some(record));
        for bit in 0..RECORD_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::from_bytes(&bad, 0), None, "bit {bit}");
        }
        assert_eq!(Record::from_bytes(&[0; RECORD_BYTES], 0), None);
    }
}
