//! The header of a Kafka v2 record batch (KIP-98 layout, `DefaultRecordBatch` in Kafka).
//!
//! ```text
//!  0  baseOffset            i64   stamped by the leader, outside the CRC
//!  8  batchLength           i32   bytes after this field
//! 12  partitionLeaderEpoch  i32   stamped by the leader, outside the CRC
//! 16  magic                 i8    2
//! 17  crc                   u32   CRC-32C of everything from byte 21 on
//! 21  attributes            i16   bits 0–2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete
//!                                 horizon: baseTimestamp says when its tombstones may go (KIP-534)
//! 23  lastOffsetDelta       i32
//! 27  baseTimestamp         i64
//! 35  maxTimestamp          i64
//! 43  producerId            i64
//! 51  producerEpoch         i16
//! 53  baseSequence          i32
//! 57  recordCount           i32
//! 61  records               …
//! ```
//!
//! **Invariant:** a produced batch holds a record for each of its offsets; compaction only takes records
//! away, up to the last, and leaves every other field of the header but lengths and base time as it was.
//! **Invariant:** records stay encoded; everything here works on the header and on raw bytes.

use bytes::Bytes;

use super::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes before the records of a v2 batch.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part that `batchLength` counts.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the CRC-covered part begins.
pub const CRC_START: usize = 21;
/// The only magic that brokers of Kafka 4.x store.
pub const MAGIC: u8 = 2;
/// Set in the attributes once compaction has dated a batch's tombstones (KIP-534).
pub const DELETE_HORIZON_BIT: i16 = 0x40;
/// Position of the magic byte, the same in every batch and message format.
pub const MAGIC_AT: usize = 16;

/// Why bytes are not a well-formed v2 batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header or than `batchLength` promises.
    #[error("the batch is truncated: {have} bytes of {need}")]
    Truncated {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// A length that no batch can have.
    #[error("the batch length {0} is impossible")]
    Length(i32),
    /// Not magic 2.
    #[error("magic {0} is not supported: only 2 is")]
    Magic(u8),
    /// The stored and the computed CRC-32C differ.
    #[error("CRC mismatch: stored {stored:08x}, computed {computed:08x}")]
    Crc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// `recordCount` is not `lastOffsetDelta` + 1 (after compaction: is more), or is not positive
    /// (after compaction: is negative).
    #[error("record count {count} does not match last offset delta {last_offset_delta}")]
    Count {
        /// The header's `recordCount`.
        count: i32,
        /// The header's `lastOffsetDelta`.
        last_offset_delta: i32,
    },
}

/// The fixed fields of a batch, read from its first [`HEADER_BYTES`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C as stored.
    pub crc: u32,
    /// Attribute bits.
    pub attributes: i16,
    /// Last record's offset minus the first's.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from: the first one's, or the delete horizon.
    pub base_timestamp: Timestamp,
    /// Largest timestamp in the batch, compacted or not.
    pub max_timestamp: Timestamp,
    /// Producer id, −1 if none.
    pub producer_id: ProducerId,
    /// Producer epoch, −1 if none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, −1 if none.
    pub base_sequence: i32,
    /// Number of records; compaction may leave none.
    pub record_count: i32,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; checks magic and that the length is possible, but
    /// neither the CRC nor that the whole batch is there.
    ///
    /// # Errors
    /// [`BatchError::Truncated`], [`BatchError::Length`] or [`BatchError::Magic`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > MAGIC_AT && bytes[MAGIC_AT] != MAGIC {
            return Err(BatchError::Magic(bytes[MAGIC_AT]));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_BYTES });
        }
        let batch_length = i32::from_be_bytes(array(bytes, 8));
        if batch_length < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length(batch_length));
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(array(bytes, 0))),
            batch_length,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(array(bytes, 12))),
            crc: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: Timestamp(i64::from_be_bytes(array(bytes, 27))),
            max_timestamp: Timestamp(i64::from_be_bytes(array(bytes, 35))),
            producer_id: ProducerId(i64::from_be_bytes(array(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(array(bytes, 51))),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        })
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        LENGTH_PREFIX_BYTES + self.batch_length as usize
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.advance(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().advance(1)
    }

    /// Compression codec number (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd).
    #[must_use]
    pub fn codec(&self) -> i16 {
        self.attributes & 0x07
    }

    /// Whether timestamps are log-append times.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it is a control batch (transaction markers), which clients may not write.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// From when on compaction may drop the batch's tombstones, if it has been set.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Checks that the batch has a record for each of its offsets, as producers send it.
    ///
    /// # Errors
    /// [`BatchError::Count`].
    pub fn check_whole(&self) -> Result<(), BatchError> {
        self.check_count(
            self.record_count > 0 && self.offset_count() == i64::from(self.record_count),
        )
    }

    /// Checks that the batch has no more records than offsets, as the log may hold it.
    ///
    /// # Errors
    /// [`BatchError::Count`].
    pub fn check_stored(&self) -> Result<(), BatchError> {
        let has_offsets = self.last_offset_delta >= 0;
        let offsets = self.offset_count();
        let fit = (0..=offsets).contains(&i64::from(self.record_count));
        self.check_count(has_offsets && fit)
    }

    /// How many offsets the batch takes.
    #[must_use]
    pub fn offset_count(&self) -> i64 {
        i64::from(self.last_offset_delta) + 1
    }

    fn check_count(&self, sound: bool) -> Result<(), BatchError> {
        let Self { record_count: count, last_offset_delta, .. } = *self;
        if sound { Ok(()) } else { Err(BatchError::Count { count, last_offset_delta }) }
    }

    /// Whether the producer asked for idempotence.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id != ProducerId::NONE
    }
}

/// Checks a produced batch: complete, magic 2, CRC, and a record for each of its offsets.
///
/// `bytes` holds exactly one batch; trailing bytes are the caller's concern (`size_bytes`).
///
/// # Errors
/// Any [`BatchError`].
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = validate_bytes(bytes)?;
    header.check_whole()?;
    Ok(header)
}

/// Checks a batch of a log, which compaction may have taken records from: as [`validate`] otherwise.
///
/// # Errors
/// As [`validate`].
pub fn validate_stored(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = validate_bytes(bytes)?;
    header.check_stored()?;
    Ok(header)
}

fn validate_bytes(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let size = header.size_bytes();
    if bytes.len() < size {
        return Err(BatchError::Truncated { have: bytes.len(), need: size });
    }
    let computed = crc32c::crc32c(&bytes[CRC_START..size]);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    Ok(header)
}

/// The first 16 bytes of a batch as the leader stamps them: base offset, unchanged length, epoch.
///
/// Both stamped fields lie outside the CRC, so the rest of the batch is written as it came.
#[must_use]
pub fn stamped_prefix(batch: &Bytes, base_offset: Offset, epoch: LeaderEpoch) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix[..8].copy_from_slice(&base_offset.0.to_be_bytes());
    prefix[8..12].copy_from_slice(&batch[8..12]);
    prefix[12..].copy_from_slice(&epoch.0.to_be_bytes());
    prefix
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A well-formed batch with `count` records whose encoded bytes are `payload`, for tests that
    /// never decode records.
    pub(crate) fn opaque_batch(count: i32, payload: &[u8]) -> Bytes {
        let mut batch = vec![0_u8; HEADER_BYTES];
        batch.extend_from_slice(payload);
        let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
        batch[MAGIC_AT] = MAGIC;
        batch[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
        batch[43..51].copy_from_slice(&(-1_i64).to_be_bytes());
        batch[51..53].copy_from_slice(&(-1_i16).to_be_bytes());
        batch[53..57].copy_from_slice(&(-1_i32).to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = crc32c::crc32c(&batch[CRC_START..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(batch)
    }

    #[test]
    fn validates_and_reads_the_header() {
        let batch = opaque_batch(3, b"abc");
        let header = validate(&batch).unwrap();
        assert_eq!(header.record_count, 3);
        assert_eq!(header.next_offset(), Offset(3));
        assert_eq!(header.size_bytes(), batch.len());
        assert!(!header.has_producer_id());
    }

    #[test]
    fn stamping_leaves_the_crc_valid() {
        let batch = opaque_batch(2, b"payload");
        let mut stamped = batch.to_vec();
        stamped[..16].copy_from_slice(&stamped_prefix(&batch, Offset(77), LeaderEpoch(5)));
        let header = validate(&stamped).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(77), LeaderEpoch(5)));
    }

    #[test]
    fn refuses_what_is_not_a_batch() {
        let good = opaque_batch(1, b"x").to_vec();
        assert!(matches!(validate(&good[..30]), Err(BatchError::Truncated { .. })));
        assert!(matches!(validate(&good[..61]), Err(BatchError::Truncated { .. })));
        let mut old = good.clone();
        old[MAGIC_AT] = 1;
        assert_eq!(validate(&old), Err(BatchError::Magic(1)));
        let mut flipped = good.clone();
        flipped[61] ^= 1;
        assert!(matches!(validate(&flipped), Err(BatchError::Crc { .. })));
        let mut short = good;
        short[8..12].copy_from_slice(&(-5_i32).to_be_bytes());
        assert_eq!(validate(&short), Err(BatchError::Length(-5)));
    }

    #[test]
    fn producers_fill_their_offsets_and_compaction_may_empty_them() {
        let with = |offsets: i32, records: i32| {
            let mut batch = opaque_batch(offsets, b"").to_vec();
            batch[57..61].copy_from_slice(&records.to_be_bytes());
            let crc = crc32c::crc32c(&batch[CRC_START..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            batch
        };
        for (offsets, records, produced, stored) in [
            (3, 3, true, true),
            (3, 2, false, true),
            (3, 0, false, true),
            (3, -1, false, false),
            (3, 4, false, false),
            (0, 0, false, false),
            (-5, 0, false, false),
            (i32::MIN, i32::MIN, false, false),
        ] {
            let batch = with(offsets, records);
            assert_eq!(validate(&batch).is_ok(), produced, "{records} of {offsets}");
            assert_eq!(validate_stored(&batch).is_ok(), stored, "{records} of {offsets}");
        }
    }
}
