//! Takes records out of a batch, as compaction does, and leaves the rest where it was.
//!
//! ```text
//! header: length, codec (none left: 0), bit 6 and base timestamp (tombstones dated), count, CRC: new
//!         everything else, the largest timestamp included: as it was
//! records: those that are kept, byte for byte; encoded anew only where the base timestamp moved
//! ```
//! Kafka's `MemoryRecords.filterTo`, but that a batch's largest timestamp stays: so producer state,
//! segment ages and what replicas agree on do not depend on what was compacted where.
//!
//! **Invariant:** a record that is kept has the same offset, timestamp, key, value and headers.
//! **Invariant:** a batch without records is its header: 61 bytes, no codec.

use bytes::Bytes;

use super::Timestamp;
use super::batch_builder::put_record;
use super::compression::Compression;
use super::record_batch::{
    BatchHeader, CRC_START, DELETE_HORIZON_BIT, HEADER_BYTES, LENGTH_PREFIX_BYTES,
};
use super::records::{Record, RecordBatch, RecordError};

const CODEC_BITS: i16 = 0x07;

/// A batch from which something was taken, or whose tombstones were dated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// The batch.
    pub batch: Bytes,
    /// Records that are gone.
    pub dropped: i32,
}

/// Which of a batch's records stay.
struct Choice {
    keeps: Vec<bool>,
    kept: i32,
    tombstones: bool,
    /// The kept records' bytes.
    bytes: Vec<u8>,
}

/// Keeps the records that `keep` says; `None` where that changes nothing. Where a tombstone stays in a
/// batch whose tombstones have no date yet, `horizon` becomes it. Records take at most `bytes_max`
/// when decompressed.
///
/// # Errors
/// [`RecordError`] where the batch cannot be read or not be compressed again.
pub fn filter(
    batch: &Bytes,
    bytes_max: usize,
    horizon: Timestamp,
    keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Option<Filtered>, RecordError> {
    let decoded = RecordBatch::decode(batch, bytes_max)?;
    let header = *decoded.header();
    let choice = choose(&decoded, keep)?;
    let dates = choice.tombstones && header.delete_horizon().is_none();
    let dropped = header.record_count - choice.kept;
    if dropped == 0 && !dates {
        return Ok(None);
    }
    let (records, kept) = if dates {
        (rebased(&decoded, &choice.keeps, horizon)?, choice.kept)
    } else {
        (choice.bytes, choice.kept)
    };
    let new_base = dates.then_some(horizon);
    Ok(Some(Filtered { batch: assemble(batch, &header, &records, kept, new_base)?, dropped }))
}

fn choose(
    batch: &RecordBatch,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Choice, RecordError> {
    let mut choice = Choice { keeps: Vec::new(), kept: 0, tombstones: false, bytes: Vec::new() };
    let mut records = batch.iter();
    let mut before = records.rest();
    while let Some(record) = records.next() {
        let record = record?;
        let rest = records.rest();
        let keeps = keep(&record);
        choice.keeps.push(keeps);
        if keeps {
            choice.kept += 1;
            choice.tombstones |= record.value.is_none();
            choice.bytes.extend_from_slice(&before[..before.len() - rest.len()]);
        }
        before = rest;
    }
    Ok(choice)
}

/// The kept records with their timestamps counted from `base`.
fn rebased(batch: &RecordBatch, keeps: &[bool], base: Timestamp) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    for (record, _) in batch.iter().zip(keeps).filter(|(_, keeps)| **keeps) {
        let record = record?;
        let timestamp_delta = record.timestamp.0.wrapping_sub(base.0);
        let offset_delta = record.offset.0.wrapping_sub(batch.header().base_offset.0);
        let at = (timestamp_delta, offset_delta);
        put_record(&mut out, at, (record.key, record.value), &record.headers);
    }
    Ok(out)
}

fn assemble(
    old: &Bytes,
    header: &BatchHeader,
    records: &[u8],
    count: i32,
    new_base: Option<Timestamp>,
) -> Result<Bytes, RecordError> {
    let codec = Compression::from_code(header.codec())?;
    let mut attributes = header.attributes;
    let mut batch = old[..HEADER_BYTES].to_vec();
    if count == 0 {
        attributes &= !CODEC_BITS;
    } else {
        batch.extend_from_slice(&codec.compress(records)?);
    }
    if let Some(base) = new_base {
        attributes |= DELETE_HORIZON_BIT;
        batch[27..35].copy_from_slice(&base.0.to_be_bytes());
    }
    let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(Bytes::from(batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch_builder::BatchBuilder;
    use crate::model::record_batch::validate_stored;
    use crate::model::{Offset, ProducerEpoch, ProducerId};

    const BYTES_MAX: usize = 1 << 20;
    const HORIZON: Timestamp = Timestamp(5_000);

    /// Records with timestamps 100, 101, …; those at odd positions are tombstones.
    fn batch(codec: Compression, count: i64) -> Bytes {
        let mut builder = BatchBuilder::new(codec).producer(ProducerId(3), ProducerEpoch(1), 1_000);
        for n in 0..count {
            let value = (n % 2 == 0).then_some(&b"some value"[..]);
            let key = n.to_string();
            let headers = [("h", Some(&b"x"[..])), ("h", None)];
            builder.append(Timestamp(100 + n), Some(key.as_bytes()), value, &headers);
        }
        let mut batch = builder.build().unwrap().to_vec();
        batch[..8].copy_from_slice(&70_i64.to_be_bytes());
        Bytes::from(batch)
    }

    fn plain(batch: &Bytes) -> Vec<(i64, i64, String, bool, usize)> {
        let batch = RecordBatch::decode(batch, BYTES_MAX).unwrap();
        let one = |record: Record<'_>| {
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            let Record { offset, timestamp, value, headers, .. } = record;
            (offset.0, timestamp.0, key, value.is_some(), headers.len())
        };
        batch.iter().map(|record| one(record.unwrap())).collect()
    }

    #[test]
    fn what_is_kept_is_as_it_was_whatever_the_codec() {
        for codec in Compression::ALL {
            let old = batch(codec, 6);
            let before = plain(&old);
            for keep in 0_u32..64 {
                let kept = |offset: i64| keep & (1 << (offset - 70)) != 0;
                let filtered = filter(&old, BYTES_MAX, HORIZON, |r| kept(r.offset.0)).unwrap();
                let filtered = filtered.expect("tombstones are dated, or dropped");
                let header = validate_stored(&filtered.batch).unwrap();
                let want: Vec<_> = before.iter().filter(|r| kept(r.0)).cloned().collect();
                assert_eq!(plain(&filtered.batch), want, "{codec} {keep:b}");
                assert_eq!(filtered.dropped, 6 - want.len() as i32);
                let dated = want.iter().any(|record| !record.3);
                assert_eq!(header.delete_horizon(), dated.then_some(HORIZON));
                assert_eq!((header.base_offset, header.last_offset()), (Offset(70), Offset(75)));
                assert_eq!(header.max_timestamp, Timestamp(105));
                let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
                assert_eq!(producer, (ProducerId(3), ProducerEpoch(1), 1_000));
            }
        }
    }

    #[test]
    fn an_emptied_batch_is_its_header() {
        for codec in Compression::ALL {
            let filtered = filter(&batch(codec, 3), BYTES_MAX, HORIZON, |_| false).unwrap();
            let filtered = filtered.unwrap().batch;
            let header = validate_stored(&filtered).unwrap();
            assert_eq!((filtered.len(), header.codec(), header.record_count), (61, 0, 0));
            assert!(plain(&filtered).is_empty());
        }
    }

    #[test]
    fn a_date_once_set_stays_and_nothing_to_do_is_nothing() {
        let old = batch(Compression::Lz4, 4);
        let dated = filter(&old, BYTES_MAX, HORIZON, |_| true).unwrap().unwrap();
        assert_eq!((dated.dropped, plain(&dated.batch)), (0, plain(&old)));
        let later = Timestamp(9_000);
        assert_eq!(filter(&dated.batch, BYTES_MAX, later, |_| true).unwrap(), None);
        let fewer = filter(&dated.batch, BYTES_MAX, later, |r| r.offset != Offset(70)).unwrap();
        let fewer = fewer.unwrap().batch;
        assert_eq!(validate_stored(&fewer).unwrap().delete_horizon(), Some(HORIZON));
        assert_eq!(plain(&fewer), plain(&old)[1..]);
        let without = batch(Compression::None, 1);
        assert_eq!(filter(&without, BYTES_MAX, HORIZON, |_| true).unwrap(), None);
    }

    #[test]
    fn garbage_and_bombs_are_errors() {
        let garbage = crate::model::record_batch::tests::opaque_batch(2, b"not records");
        assert!(filter(&garbage, BYTES_MAX, HORIZON, |_| true).is_err());
        assert!(filter(&batch(Compression::Zstd, 6), 10, HORIZON, |_| true).is_err());
    }
}
