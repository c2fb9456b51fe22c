//! The records inside a v2 batch: reading them, and building batches of them.
//!
//! ```text
//! record: length varint · attributes i8 · timestampDelta varlong · offsetDelta varint
//!         keyLength varint (−1 null) · key · valueLength varint (−1 null) · value
//!         headerCount varint · headers, each: keyLength varint · key · valueLength varint · value
//! ```
//!
//! **Invariant:** every length is checked against the bytes that are left; a record ends exactly
//! where its length says, and a batch holds exactly the records that its header counts, none included.

use bytes::Bytes;

use super::compression::{Compression, CompressionError};
use super::record_batch::{self, BatchError, BatchHeader, HEADER_BYTES};
use super::{Offset, Timestamp};

/// Most bytes that a broker lets one batch's records be when decompressed: a hundred times the largest
/// batch that topics take by default.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// Why a batch's records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The batch itself is malformed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The records cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The bytes end within a record.
    #[error("record {0} is cut off")]
    Truncated(i32),
    /// A length, a count or text that no record can have.
    #[error("record {index} has an impossible {what}")]
    Malformed {
        /// Position in the batch, from 0.
        index: i32,
        /// What is wrong.
        what: &'static str,
    },
    /// Bytes follow the last record.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// A record, borrowed from its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its create time, or the batch's append time.
    pub timestamp: Timestamp,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; names may repeat.
    pub headers: Vec<Header<'a>>,
}

/// A header's name and value.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// A validated batch with its records decompressed.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    header: BatchHeader,
    records: Bytes,
}

impl RecordBatch {
    /// Validates `batch`, compacted or not, CRC included, and decompresses its records into at most `bytes_max`
    /// bytes. Uncompressed records are shared, not copied.
    ///
    /// # Errors
    /// [`RecordError::Batch`] or [`RecordError::Compression`].
    pub fn decode(batch: &Bytes, bytes_max: usize) -> Result<Self, RecordError> {
        let header = record_batch::validate_stored(batch)?;
        let encoded = batch.slice(HEADER_BYTES..header.size_bytes());
        let records = match Compression::from_code(header.codec())? {
            Compression::None => encoded,
            codec => Bytes::from(codec.decompress(&encoded, bytes_max)?),
        };
        Ok(Self { header, records })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records in order. After an error the iterator ends.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records { header: &self.header, bytes: &self.records, index: 0 }
    }
}

impl<'a> IntoIterator for &'a RecordBatch {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over a batch's records.
#[derive(Debug)]
pub struct Records<'a> {
    header: &'a BatchHeader,
    bytes: &'a [u8],
    /// The next record's position; past `record_count` once the iteration is over.
    index: i32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let count = self.header.record_count;
        if self.index > count {
            return None;
        }
        let item = if self.index < count {
            self.record()
        } else if self.bytes.is_empty() {
            self.index = i32::MAX;
            return None;
        } else {
            Err(RecordError::Trailing(self.bytes.len()))
        };
        self.index = if item.is_ok() { self.index + 1 } else { i32::MAX };
        Some(item)
    }
}

impl<'a> Records<'a> {
    /// The encoded records that are still to come.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    fn record(&mut self) -> Result<Record<'a>, RecordError> {
        let index = self.index;
        let mut all = Cursor { bytes: self.bytes, index };
        let length = all.length("length")?.ok_or(all.malformed("length"))?;
        let mut body = Cursor { bytes: all.take(length)?, index };
        self.bytes = all.bytes;
        let record = body.record(self.header)?;
        if body.bytes.is_empty() { Ok(record) } else { Err(body.malformed("length")) }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    index: i32,
}

impl<'a> Cursor<'a> {
    fn record(&mut self, header: &BatchHeader) -> Result<Record<'a>, RecordError> {
        self.take(1)?; // attributes: none are defined
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint("offset delta")?;
        let key = self.nullable("key length")?;
        let value = self.nullable("value length")?;
        let count = self.length("header count")?.ok_or(self.malformed("header count"))?;
        // Not reserved: the count is a claim, and each header takes two bytes at least.
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = self.nullable("header name")?.ok_or(self.malformed("header name"))?;
            let name = std::str::from_utf8(name).map_err(|_| self.malformed("header name"))?;
            headers.push((name, self.nullable("header value")?));
        }
        let created = Timestamp(header.base_timestamp.0.wrapping_add(timestamp_delta));
        let timestamp = if header.is_log_append_time() { header.max_timestamp } else { created };
        let offset = Offset(header.base_offset.0.wrapping_add(i64::from(offset_delta)));
        Ok(Record { offset, timestamp, key, value, headers })
    }

    fn nullable(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, RecordError> {
        self.length(what)?.map(|length| self.take(length)).transpose()
    }

    /// A length, or `None` for −1.
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, RecordError> {
        match self.varint(what)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| self.malformed(what)),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or(RecordError::Truncated(self.index))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn varint(&mut self, what: &'static str) -> Result<i32, RecordError> {
        i32::try_from(self.varlong()?).map_err(|_| self.malformed(what))
    }

    /// A zigzag varint of up to ten bytes.
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.malformed("varint"))
    }

    fn malformed(&self, what: &'static str) -> RecordError {
        RecordError::Malformed { index: self.index, what }
    }
}

/// Cuts the records of a fetch response into batches. A batch that is cut off at the end, as a
/// byte limit leaves it, ends the iteration; a header that cannot be is an error, then the end.
pub fn batches(mut records: Bytes) -> impl Iterator<Item = Result<Bytes, BatchError>> {
    std::iter::from_fn(move || match BatchHeader::parse(&records) {
        Ok(header) if header.size_bytes() <= records.len() => {
            Some(Ok(records.split_to(header.size_bytes())))
        }
        Ok(_) | Err(BatchError::Truncated { .. }) => None,
        Err(error) => {
            records.clear();
            Some(Err(error))
        }
    })
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
