//! Batches of keyed records, and what compaction may leave of them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::model::batch_builder::BatchBuilder;
use crate::model::compression::Compression;
use crate::model::record_batch::{BatchHeader, validate_stored};
use crate::model::records::{Record, RecordBatch};

/// Keys that [`keyed_batch`] draws from.
const KEYS: usize = 6;

/// A produced batch of one to three records with `size` bytes of values, of keys that come again. Where
/// `size` is a multiple of 8 they look as if they had never been written; some records are tombstones.
pub(super) fn keyed_batch(term: u64, index: u64, size: usize) -> LogEntry {
    let count = 1 + size % 3;
    let byte = |at: usize| if size.is_multiple_of(8) { 0 } else { (at as u8).wrapping_mul(7) | 1 };
    let mut builder = BatchBuilder::new(Compression::None);
    for at in 0..count {
        let key = [b'k', ((size / 7 + at) % KEYS) as u8];
        let value: Vec<u8> = (0..size / count).map(byte).collect();
        let is_tombstone = at == 2 && size.is_multiple_of(5);
        let value = (!is_tombstone).then_some(&value[..]);
        builder.append(timestamp(0), Some(&key), value, &[]);
    }
    LogEntry::new(term, index, EntryBody::Produced(builder.build().unwrap()))
}

/// A record and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Base offset of its batch, and when that one's tombstones go.
    pub(super) batch: i64,
    pub(super) horizon: Option<i64>,
}

impl Seen {
    /// Whether the two are the same but for when tombstones go.
    pub(super) fn is(&self, other: &Self) -> bool {
        let Self { offset, timestamp, key, value, batch, horizon: _ } = self;
        (offset, timestamp, key) == (&other.offset, &other.timestamp, &other.key)
            && (value, batch) == (&other.value, &other.batch)
    }
}

pub(super) fn seen(entries: &[LogEntry]) -> Vec<Seen> {
    let batches = entries.iter().filter_map(|entry| match &entry.body {
        EntryBody::Batch(bytes) => Some(seen_in(bytes)),
        _ => None,
    });
    batches.flatten().collect()
}

fn seen_in(bytes: &Bytes) -> Vec<Seen> {
    let batch = RecordBatch::decode(bytes, 1 << 14).unwrap();
    let header = *batch.header();
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let one = |record: Record<'_>| Seen {
        offset: record.offset.0,
        timestamp: record.timestamp.0,
        key: own(record.key),
        value: own(record.value),
        batch: header.base_offset.0,
        horizon: header.delete_horizon().map(|h| h.0),
    };
    batch.iter().map(|record| one(record.unwrap())).collect()
}

/// Newest value per key; tombstones and what was never there are the same.
pub(super) fn newest(records: &[Seen]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut map = BTreeMap::new();
    for record in records {
        match (&record.key, &record.value) {
            (Some(key), Some(value)) => drop(map.insert(key.clone(), value.clone())),
            (Some(key), None) => drop(map.remove(key)),
            (None, _) => {}
        }
    }
    map
}

/// Below the clean end each key is there once, and no tombstone past its time.
pub(super) fn check_compacted(records: &[Seen], upto: i64, now: i64) {
    for record in records.iter().filter(|record| record.batch < upto) {
        let again = |r: &&Seen| r.offset > record.offset && r.offset < upto;
        let again = records.iter().filter(again).find(|r| r.key == record.key);
        assert_eq!(again, None, "after {record:?}");
        if record.offset < upto && record.value.is_none() {
            let horizon = record.horizon.expect("a tombstone has a date");
            assert!(horizon > now, "{record:?}");
        }
        assert!(record.key.is_some() || record.offset >= upto, "{record:?}");
    }
}

/// Everything of a batch but its records is where it was.
pub(super) fn is_same_place(found: &BatchHeader, old: &BatchHeader) -> bool {
    let place = |h: &BatchHeader| {
        let producer = (h.producer_id, h.producer_epoch, h.base_sequence);
        (h.base_offset, h.last_offset_delta, h.leader_epoch, h.max_timestamp, producer)
    };
    place(found) == place(old) && (found.record_count == 0 || found.codec() == old.codec())
}

/// What compaction may leave of a log: of the batches before index `committed` it may take records
/// whose key has a newer one there.
pub(super) struct Compactable<'a> {
    entries: &'a [LogEntry],
    committed: u64,
    /// The offset of each key's newest committed record.
    newest: OnceCell<HashMap<Vec<u8>, i64>>,
}

impl<'a> Compactable<'a> {
    /// `entries` as they were appended.
    pub(super) fn new(entries: &'a [LogEntry], committed: u64) -> Self {
        Self { entries, committed, newest: OnceCell::new() }
    }

    /// Whether `found` is what may be left of all entries.
    pub(super) fn check(&self, found: &[LogEntry]) -> Result<(), String> {
        if found.len() != self.entries.len() {
            return Err(format!("{} entries instead of {}", found.len(), self.entries.len()));
        }
        self.entries.iter().zip(found).try_for_each(|(old, found)| self.check_entry(old, found))
    }

    /// As [`Self::check`], of all that have records.
    pub(super) fn check_batches(&self, found: &[Bytes]) -> Result<(), String> {
        let mut batches = found.iter();
        for old in self.entries.iter().filter(|old| matches!(old.body, EntryBody::Batch(_))) {
            let found = batches.next().ok_or(format!("the batch of {} is missing", old.id))?;
            self.check_batch(old, found)?;
        }
        batches.next().map_or(Ok(()), |_| Err("a batch too many".to_owned()))
    }

    pub(super) fn check_entry(&self, old: &LogEntry, found: &LogEntry) -> Result<(), String> {
        match &found.body {
            EntryBody::Batch(bytes) if found.id == old.id => self.check_batch(old, bytes),
            _ if found == old => Ok(()),
            _ => Err(format!("another entry in place of {}", old.id)),
        }
    }

    /// Whether `found` is what may be left of the batch of `old`.
    pub(super) fn check_batch(&self, old: &LogEntry, found: &Bytes) -> Result<(), String> {
        let EntryBody::Batch(bytes) = &old.body else {
            return Err(format!("a batch in place of {}", old.id));
        };
        if found == bytes {
            return Ok(());
        }
        let differs = |what: &str| Err(format!("the batch of {} {what}", old.id));
        if old.id.index >= self.committed {
            return differs("has changed and is not committed");
        }
        let header = match validate_stored(found) {
            Ok(header) => header,
            Err(error) => return differs(&error.to_string()),
        };
        if !is_same_place(&header, &BatchHeader::parse(bytes).unwrap()) {
            return differs("has another header");
        }
        let left = seen_in(found);
        let mut left = left.iter().peekable();
        for old in seen_in(bytes) {
            if left.next_if(|left| left.is(&old)).is_none() && !self.may_go(&old) {
                return differs(&format!("has lost {old:?}"));
            }
        }
        left.next().map_or(Ok(()), |left| differs(&format!("has got {left:?}")))
    }

    fn may_go(&self, record: &Seen) -> bool {
        let newest = self.newest.get_or_init(|| {
            let is_committed = |entry: &LogEntry| entry.id.index < self.committed;
            let count = self.entries.partition_point(is_committed);
            let records = seen(&self.entries[..count]).into_iter();
            records.filter_map(|record| Some((record.key?, record.offset))).collect()
        });
        record.key.as_ref().and_then(|key| newest.get(key)).is_some_and(|at| *at > record.offset)
    }
}
