//! Corrections to a batch that has passed validation: its time, its codec.
//!
//! **Invariant:** the CRC of an amended batch still covers the records as they came: it is derived
//! from the old one, so that a bit that flips in between stays an error.

use bytes::{Bytes, BytesMut};

use super::Timestamp;
use super::record_batch::{BatchHeader, CRC_START, HEADER_BYTES, LENGTH_PREFIX_BYTES};

const LENGTH_AT: usize = 8;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const APPEND_TIME_BIT: i16 = 0x08;
const CODEC_BITS: i16 = 0x07;

/// Sets whether timestamps are append times, and the largest. The records are not read; they are
/// copied only where others hold the batch's memory too.
#[must_use]
pub fn with_time(
    batch: Bytes,
    header: &BatchHeader,
    is_append_time: bool,
    max_timestamp: Timestamp,
) -> (Bytes, BatchHeader) {
    let mut header = *header;
    let size = header.size_bytes();
    let before = crc32c::crc32c(&batch[CRC_START..HEADER_BYTES]);
    header.attributes &= !APPEND_TIME_BIT;
    header.attributes |= if is_append_time { APPEND_TIME_BIT } else { 0 };
    header.max_timestamp = max_timestamp;
    let mut batch = batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    put_time(&mut batch, &header);
    // crc(head ‖ records) = shift(crc(head), |records|) ^ crc(records), where shift is linear.
    let changed = before ^ crc32c::crc32c(&batch[CRC_START..HEADER_BYTES]);
    header.crc = crc32c::crc32c_combine(changed, header.crc, size - HEADER_BYTES);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&header.crc.to_be_bytes());
    (batch.freeze(), header)
}

/// Closes a batch that consists of `header` as it was, to be filled in, and newly encoded records in
/// `codec`: sets what follows from the records, and the CRC.
///
/// # Panics
/// Where the batch is 2 GiB or more: batches are bounded far below.
#[must_use]
pub fn with_records(
    mut batch: Vec<u8>,
    header: &BatchHeader,
    codec: i16,
    is_append_time: bool,
    max_timestamp: Timestamp,
) -> (Bytes, BatchHeader) {
    let mut header = *header;
    let length = batch.len() - LENGTH_PREFIX_BYTES;
    header.batch_length = i32::try_from(length).expect("a batch is smaller than 2 GiB");
    header.attributes &= !(CODEC_BITS | APPEND_TIME_BIT);
    header.attributes |= codec | if is_append_time { APPEND_TIME_BIT } else { 0 };
    header.max_timestamp = max_timestamp;
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&header.batch_length.to_be_bytes());
    put_time(&mut batch, &header);
    header.crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&header.crc.to_be_bytes());
    (Bytes::from(batch), header)
}

fn put_time(batch: &mut [u8], header: &BatchHeader) {
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&header.attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8]
        .copy_from_slice(&header.max_timestamp.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch_builder::BatchBuilder;
    use crate::model::compression::Compression;
    use crate::model::record_batch::validate;

    fn batch(value: &[u8]) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(Timestamp(5), None, Some(value), &[]);
        builder.build().unwrap()
    }

    #[test]
    fn a_new_time_leaves_the_crc_right() {
        for length in [0, 1, 63, 64, 1_000, 100_000] {
            let batch = batch(&vec![7; length]);
            let header = validate(&batch).unwrap();
            let (stamped, stamped_header) = with_time(batch, &header, true, Timestamp(99));
            assert_eq!(validate(&stamped), Ok(stamped_header));
            assert!(stamped_header.is_log_append_time());
            assert_eq!(stamped_header.max_timestamp, Timestamp(99));
            let (back, _) = with_time(stamped, &stamped_header, false, Timestamp(5));
            assert_eq!(validate(&back), Ok(header));
        }
    }

    #[test]
    fn memory_of_ones_own_is_not_copied_and_shared_memory_is_not_written_to() {
        let mine = Bytes::from(batch(b"value").to_vec());
        let at = mine.as_ptr();
        let header = validate(&mine).unwrap();
        let (stamped, header) = with_time(mine, &header, true, Timestamp(99));
        assert_eq!(stamped.as_ptr(), at);
        let other = stamped.clone();
        let (_, _) = with_time(stamped, &header, true, Timestamp(100));
        assert_eq!(validate(&other), Ok(header));
    }

    #[test]
    fn a_flipped_bit_stays_an_error() {
        let mut batch = batch(b"value").to_vec();
        let header = validate(&batch).unwrap();
        *batch.last_mut().unwrap() ^= 1;
        let (stamped, _) = with_time(Bytes::from(batch), &header, true, Timestamp(99));
        assert!(validate(&stamped).is_err());
    }
}
