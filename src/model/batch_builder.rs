//! Builds v2 batches: for the command line's producer, and for tests.

use bytes::Bytes;

use super::compression::{Compression, CompressionError};
use super::record_batch::{CRC_START, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC};
use super::records::Header;
use super::{ProducerEpoch, ProducerId, Timestamp};

/// Collects records and encodes them as one batch at base offset 0, its leader epoch −1, as a
/// producer sends it.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    records: Vec<u8>,
    count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    producer: (ProducerId, ProducerEpoch, i32),
    is_transactional: bool,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            records: Vec::new(),
            count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer: (ProducerId::NONE, ProducerEpoch(-1), -1),
            is_transactional: false,
        }
    }

    /// Marks the batch as an idempotent producer's, with the sequence number of its first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.is_transactional = true;
        self
    }

    /// Appends a record.
    ///
    /// # Panics
    /// On fields beyond 2 GiB: batches are bounded far below.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let at = (timestamp_delta, i64::from(self.count));
        put_record(&mut self.records, at, (key, value), headers);
        self.count += 1;
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch so far, were it not compressed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Encodes the batch.
    ///
    /// # Errors
    /// Where the codec fails.
    pub fn build(&self) -> Result<Bytes, CompressionError> {
        let records = self.compression.compress(&self.records)?;
        let length = HEADER_BYTES - LENGTH_PREFIX_BYTES + records.len();
        let attributes = self.compression.code() | if self.is_transactional { 0x10 } else { 0 };
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut batch = Vec::with_capacity(HEADER_BYTES + records.len());
        batch.extend_from_slice(&0_i64.to_be_bytes());
        batch.extend_from_slice(&(length as i32).to_be_bytes());
        batch.extend_from_slice(&(-1_i32).to_be_bytes());
        batch.push(MAGIC);
        batch.extend_from_slice(&[0; 4]); // CRC, below
        batch.extend_from_slice(&attributes.to_be_bytes());
        batch.extend_from_slice(&(self.count - 1).to_be_bytes());
        batch.extend_from_slice(&self.base_timestamp.0.to_be_bytes());
        batch.extend_from_slice(&self.max_timestamp.0.to_be_bytes());
        batch.extend_from_slice(&producer_id.0.to_be_bytes());
        batch.extend_from_slice(&producer_epoch.0.to_be_bytes());
        batch.extend_from_slice(&base_sequence.to_be_bytes());
        batch.extend_from_slice(&self.count.to_be_bytes());
        debug_assert_eq!(batch.len(), HEADER_BYTES);
        batch.extend_from_slice(&records);
        let crc = crc32c::crc32c(&batch[CRC_START..]);
        batch[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_be_bytes());
        Ok(Bytes::from(batch))
    }
}

/// Encodes a record; `at` is its timestamp's and its offset's distance from the batch's.
///
/// # Panics
/// On fields beyond 2 GiB: batches are bounded far below.
pub(super) fn put_record(
    out: &mut Vec<u8>,
    at: (i64, i64),
    (key, value): (Option<&[u8]>, Option<&[u8]>),
    headers: &[Header<'_>],
) {
    let mut body = vec![0]; // attributes
    put_varlong(&mut body, at.0);
    put_varlong(&mut body, at.1);
    put_nullable(&mut body, key);
    put_nullable(&mut body, value);
    put_length(&mut body, headers.len());
    for (name, value) in headers {
        put_nullable(&mut body, Some(name.as_bytes()));
        put_nullable(&mut body, *value);
    }
    put_length(out, body.len());
    out.extend_from_slice(&body);
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = i32::try_from(length).expect("a field of a record is smaller than 2 GiB");
    put_varlong(out, i64::from(length));
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}
