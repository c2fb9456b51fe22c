//! What a produced batch must be before it may enter the log.
//!
//! Kafka's `ProduceRequest.validateRecords` and `UnifiedLog.analyzeAndValidateRecords`, on the header
//! and the CRC; the records' turn comes in [`super::accept`].
//!
//! **Invariant:** a batch that passes is one complete v2 batch whose CRC holds and whose record count
//! agrees with its offsets.

use bytes::Bytes;

use super::accept::{Accepted, accept};
use super::refusal::Refusal;
use crate::handlers::errors::KafkaCode;
use crate::model::record_batch::{self, BatchError, BatchHeader};
use crate::model::{Offset, Timestamp};
use crate::partition::RecordLimits;
use crate::protocol::ErrorCode;

/// Codec number of zstd in a batch's attributes.
const ZSTD: i16 = 4;
/// The first Produce version whose clients all know zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// Checks the records of one partition of a Produce request of the given version.
///
/// # Errors
/// A [`Refusal`] with the code that Kafka gives.
pub(super) fn validate(
    records: Option<Bytes>,
    version: i16,
    limits: &RecordLimits,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let batch = records.filter(|records| !records.is_empty()).ok_or_else(|| {
        Refusal::new(ErrorCode::InvalidRecord, "a produce request must hold one record batch")
    })?;
    let header = validate_header(&batch, version, limits)?;
    accept(batch, &header, limits, now)
}

fn validate_header(
    records: &[u8],
    version: i16,
    limits: &RecordLimits,
) -> Result<BatchHeader, Refusal> {
    let header = BatchHeader::parse(records).map_err(|error| malformed(&error))?;
    if header.size_bytes() > limits.message_bytes_max {
        return Err(Refusal::new(
            ErrorCode::MessageTooLarge,
            format!(
                "the batch has {} bytes, max.message.bytes of the topic is {}",
                header.size_bytes(),
                limits.message_bytes_max
            ),
        ));
    }
    if header.size_bytes() > limits.segment_bytes_max {
        return Err(Refusal::new(
            ErrorCode::RecordListTooLarge,
            "the batch is larger than segment.bytes of the topic",
        ));
    }
    let header = record_batch::validate(records).map_err(|error| malformed(&error))?;
    if records.len() != header.size_bytes() {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            "a produce request must hold exactly one record batch per partition",
        ));
    }
    check_claims(&header, version)?;
    Ok(header)
}

fn malformed(error: &BatchError) -> Refusal {
    Refusal::new(error.kafka_code(), error.to_string())
}

/// What the header says of codec, offsets, control and producer.
fn check_claims(header: &BatchHeader, version: i16) -> Result<(), Refusal> {
    if header.codec() > ZSTD {
        return Err(Refusal::new(
            ErrorCode::UnsupportedCompressionType,
            format!("compression codec {} is unknown", header.codec()),
        ));
    }
    if header.codec() == ZSTD && version < ZSTD_SINCE {
        return Err(Refusal::new(
            ErrorCode::UnsupportedCompressionType,
            "zstd needs Produce version 7 or newer",
        ));
    }
    if header.base_offset != Offset::ZERO {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            "the base offset of a produced batch must be 0",
        ));
    }
    if header.is_control() {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            "clients may not write control batches",
        ));
    }
    if header.delete_horizon().is_some() {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            "only a broker may say when a batch's tombstones are dropped",
        ));
    }
    if header.is_log_append_time() {
        return Err(Refusal::new(
            ErrorCode::InvalidTimestamp,
            "a producer may not set the timestamp type to LogAppendTime",
        ));
    }
    if header.is_transactional() {
        return Err(Refusal::new(
            ErrorCode::InvalidTxnState,
            "this broker does not offer transactions: produce without a transactional.id",
        ));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            format!("sequence {} of an idempotent producer", header.base_sequence),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch_builder::BatchBuilder;
    use crate::model::compression::Compression;
    use crate::model::record_batch::{CRC_START, MAGIC_AT};

    const LIMITS: RecordLimits = RecordLimits {
        message_bytes_max: 1_000,
        segment_bytes_max: 10_000,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        log_append_time: false,
        compacted: false,
        codec: None,
    };

    fn code(records: &[u8], version: i16) -> Option<ErrorCode> {
        let records = Bytes::copy_from_slice(records);
        validate(Some(records), version, &LIMITS, Timestamp(0)).err().map(|refusal| refusal.code)
    }

    fn batch(codec: Compression, values: &[&[u8]]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        values.iter().for_each(|value| builder.append(Timestamp(0), None, Some(value), &[]));
        builder.build().unwrap().to_vec()
    }

    fn plain(values: &[&[u8]]) -> Vec<u8> {
        batch(Compression::None, values)
    }

    /// A good batch with some header bytes replaced and the CRC made right again.
    fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut batch = plain(&[b"a", b"b"]);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c::crc32c(&batch[CRC_START..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    #[test]
    fn a_good_batch_passes() {
        assert_eq!(code(&plain(&[b"a", b"b"]), 9), None);
    }

    #[test]
    fn each_fault_has_its_code() {
        let two = [plain(&[b"a"]), plain(&[b"b"])].concat();
        let mut flipped = plain(&[b"a"]);
        flipped[61] ^= 0x40;
        let cases = [
            ("none", vec![], ErrorCode::InvalidRecord),
            ("cut", plain(&[b"abc"])[..63].to_vec(), ErrorCode::CorruptMessage),
            ("crc", flipped, ErrorCode::CorruptMessage),
            ("two batches", two, ErrorCode::InvalidRecord),
            ("magic 0", patched(MAGIC_AT, &[0]), ErrorCode::UnsupportedForMessageFormat),
            ("magic 1", patched(MAGIC_AT, &[1]), ErrorCode::UnsupportedForMessageFormat),
            ("magic 3", patched(MAGIC_AT, &[3]), ErrorCode::UnsupportedForMessageFormat),
            ("large", plain(&[&[0; 1_000]]), ErrorCode::MessageTooLarge),
            ("count", patched(57, &9_i32.to_be_bytes()), ErrorCode::InvalidRecord),
            ("codec 7", patched(21, &[0, 7]), ErrorCode::UnsupportedCompressionType),
            ("append time", patched(21, &[0, 8]), ErrorCode::InvalidTimestamp),
            ("control", patched(21, &[0, 0x20]), ErrorCode::InvalidRecord),
            ("transactional", patched(21, &[0, 0x10]), ErrorCode::InvalidTxnState),
            ("base offset", patched(0, &7_i64.to_be_bytes()), ErrorCode::InvalidRecord),
            ("sequence", patched(43, &7_i64.to_be_bytes()), ErrorCode::InvalidRecord),
            ("future", patched(27, &i64::MAX.to_be_bytes()), ErrorCode::InvalidTimestamp),
            ("garbage", patched(61, &[0x55; 4]), ErrorCode::InvalidRecord),
        ];
        for (what, bytes, expected) in cases {
            assert_eq!(code(&bytes, 9), Some(expected), "{what}");
        }
    }

    #[test]
    fn zstd_needs_version_7() {
        let zstd = batch(Compression::Zstd, &[b"a"]);
        assert_eq!(code(&zstd, 6), Some(ErrorCode::UnsupportedCompressionType));
        assert_eq!(code(&zstd, 7), None);
    }
}
