//! A look at every record of a batch without decoding any: framing, order, times and keys.
//!
//! Kafka's `LogValidator.validateRecord` over what `DefaultRecord.readFrom` reads. Stricter than there
//! in what no client sends: a length below −1, a header's name that is not UTF-8, offset deltas that do
//! not count up from 0.
//!
//! **Invariant:** what passes is read by [`super::records::RecordBatch`] to its last record.
//! **Invariant:** no record is copied and nothing is allocated but for records that break a rule; of
//! compressed records one window is in memory at a time.

use std::io::Read;

use super::Timestamp;
use super::byte_source::{ByteSource, SliceSource, SourceError, StreamSource};
use super::compression::{Compression, CompressionError};
use super::record_batch::BatchHeader;
use super::records::RecordError;

/// Faults that are told one by one; more are only counted.
pub const FAULTS_TOLD_MAX: usize = 32;

/// What a topic asks of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRules {
    /// The oldest timestamp allowed; records without one (−1) may pass.
    pub oldest: Timestamp,
    /// The newest.
    pub newest: Timestamp,
    /// Whether every record must have a key.
    pub key_required: bool,
}

impl RecordRules {
    /// Every well-formed record passes.
    pub const NONE: Self =
        Self { oldest: Timestamp(i64::MIN), newest: Timestamp(i64::MAX), key_required: false };
}

/// The rule that a well-formed record breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has no key.
    NoKey,
    /// Its timestamp is out of range.
    Timestamp(Timestamp),
}

/// What a batch's records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The largest timestamp, −1 if no record has one.
    pub max_timestamp: Timestamp,
    /// The first records that break a rule, by position: [`FAULTS_TOLD_MAX`] at most.
    pub faults: Vec<(i32, Fault)>,
    /// How many break one.
    pub fault_count: usize,
}

/// Walks the records of an uncompressed batch.
///
/// # Errors
/// [`RecordError`] where they are not what the header says.
pub fn walk(
    header: &BatchHeader,
    records: &[u8],
    rules: &RecordRules,
) -> Result<Walked, RecordError> {
    let walk = Walk::new(header, SliceSource::new(records), rules);
    walk.run(|index, _| RecordError::Truncated(index))
}

/// Decompresses `records` and walks them, each piece passed to `seen` before it is looked at.
///
/// # Errors
/// [`RecordError`] where they are not what the header says, where they are more than `bytes_max` when
/// decompressed, or what `seen` fails with, as [`CompressionError::Corrupt`].
pub fn walk_compressed(
    header: &BatchHeader,
    records: &[u8],
    bytes_max: usize,
    rules: &RecordRules,
    seen: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<Walked, RecordError> {
    let codec = Compression::from_code(header.codec())?;
    let failed = |source| RecordError::from(codec.failure(bytes_max, source));
    let reader = Seen { reader: codec.decoder(records, bytes_max).map_err(failed)?, seen };
    let walk = Walk::new(header, StreamSource::new(reader, bytes_max), rules);
    walk.run(|index, stop| match stop {
        SourceError::End => RecordError::Truncated(index),
        SourceError::TooLarge => CompressionError::TooLarge { limit: bytes_max }.into(),
        SourceError::Io(source) => failed(source),
    })
}

/// A reader whose bytes another looks at too.
struct Seen<R, F> {
    reader: R,
    seen: F,
}

impl<R: Read, F: FnMut(&[u8]) -> std::io::Result<()>> Read for Seen<R, F> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(out)?;
        (self.seen)(&out[..read])?;
        Ok(read)
    }
}

/// Why a walk ends early.
enum Stop {
    Malformed(&'static str),
    Source(SourceError),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

struct Walk<'a, S> {
    source: S,
    rules: &'a RecordRules,
    count: i32,
    base_timestamp: i64,
    /// The current record's position in the batch.
    index: i32,
    /// Where it ends.
    end: u64,
    walked: Walked,
}

impl<'a, S: ByteSource> Walk<'a, S> {
    fn new(header: &BatchHeader, source: S, rules: &'a RecordRules) -> Self {
        let max_timestamp = Timestamp::NONE;
        let walked = Walked { max_timestamp, faults: Vec::new(), fault_count: 0 };
        Self {
            source,
            rules,
            count: header.record_count,
            base_timestamp: header.base_timestamp.0,
            index: 0,
            end: 0,
            walked,
        }
    }

    fn run(
        mut self,
        failed: impl FnOnce(i32, SourceError) -> RecordError,
    ) -> Result<Walked, RecordError> {
        match self.records() {
            Ok(0) => Ok(self.walked),
            Ok(left) => Err(RecordError::Trailing(left)),
            Err(Stop::Malformed(what)) => Err(RecordError::Malformed { index: self.index, what }),
            Err(Stop::Source(error)) => Err(failed(self.index, error)),
        }
    }

    /// Walks as many records as the header counts; the bytes that follow them.
    fn records(&mut self) -> Result<usize, Stop> {
        while self.index < self.count {
            self.record()?;
            self.index += 1;
        }
        Ok(self.source.left()?)
    }

    fn record(&mut self) -> Result<(), Stop> {
        let length = self.varint("length")?;
        let Ok(length) = u64::try_from(length) else {
            return Err(Stop::Malformed("length"));
        };
        self.end = self.source.position() + length;
        self.source.byte()?; // attributes: none are defined
        let timestamp = Timestamp(self.base_timestamp.wrapping_add(self.varlong()?));
        let offset_delta = self.varint("offset delta")?;
        if offset_delta != self.index {
            return Err(Stop::Malformed("offset delta"));
        }
        let has_key = self.skip_nullable("key length")?;
        self.skip_nullable("value length")?;
        self.headers()?;
        if self.source.position() != self.end {
            return Err(Stop::Malformed("length"));
        }
        self.judge(timestamp, has_key);
        Ok(())
    }

    #[inline]
    fn headers(&mut self) -> Result<(), Stop> {
        let count = self.varint("header count")?;
        if count < 0 {
            return Err(Stop::Malformed("header count"));
        }
        for _ in 0..count {
            let Some(length) = self.length("header name")? else {
                return Err(Stop::Malformed("header name"));
            };
            if !self.source.skip_text(length)? {
                return Err(Stop::Malformed("header name"));
            }
            self.skip_nullable("header value")?;
        }
        Ok(())
    }

    #[inline]
    fn judge(&mut self, timestamp: Timestamp, has_key: bool) {
        self.walked.max_timestamp = self.walked.max_timestamp.max(timestamp);
        if self.rules.key_required && !has_key {
            self.note(Fault::NoKey);
        } else if (timestamp < self.rules.oldest || timestamp > self.rules.newest)
            && timestamp != Timestamp::NONE
        {
            self.note(Fault::Timestamp(timestamp));
        }
    }

    #[cold]
    fn note(&mut self, fault: Fault) {
        self.walked.fault_count += 1;
        if self.walked.faults.len() < FAULTS_TOLD_MAX {
            self.walked.faults.push((self.index, fault));
        }
    }

    /// Passes over a field; whether it is not null.
    #[inline(always)]
    fn skip_nullable(&mut self, what: &'static str) -> Result<bool, Stop> {
        match self.length(what)? {
            None => Ok(false),
            Some(length) => {
                self.source.skip(length)?;
                Ok(true)
            }
        }
    }

    /// The length of a field within the record, or `None` for −1.
    #[inline(always)]
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, Stop> {
        let length = self.varint(what)?;
        if length == -1 {
            return Ok(None);
        }
        let left = self.end.checked_sub(self.source.position());
        match usize::try_from(length) {
            Ok(length) if left.is_some_and(|left| length as u64 <= left) => Ok(Some(length)),
            _ => Err(Stop::Malformed(what)),
        }
    }

    /// A varint of 32 bits.
    #[inline(always)]
    fn varint(&mut self, what: &'static str) -> Result<i32, Stop> {
        let first = self.source.byte()?;
        if first < 0x80 {
            return Ok(i32::from(first >> 1) ^ -i32::from(first & 1));
        }
        let value = zigzag(self.long_varlong(first)?);
        i32::try_from(value).map_err(|_| Stop::Malformed(what))
    }

    #[inline(always)]
    fn varlong(&mut self) -> Result<i64, Stop> {
        let first = self.source.byte()?;
        let value = if first < 0x80 { u64::from(first) } else { self.long_varlong(first)? };
        Ok(zigzag(value))
    }

    /// What a varint of up to ten bytes holds, its first byte being `first`.
    #[inline]
    fn long_varlong(&mut self, first: u8) -> Result<u64, Stop> {
        let mut value = u64::from(first & 0x7f);
        // Most varints of two bytes and more pass here, and a stepped range costs a tenth of the walk.
        let mut shift = 7;
        while shift < 70 {
            let byte = self.source.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(Stop::Malformed("varint"))
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
#[path = "record_walk_tests.rs"]
mod tests;
