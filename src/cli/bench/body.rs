//! The records of batches, made once and sent again and again under other headers.
//!
//! A batch's CRC covers its header from the attributes on (time, producer id, sequence) and the records. The
//! records are the same each time, and appending `n` bytes to what was summed is linear in the sum: one
//! table of 32 words per body takes the place of a pass over the records.
//!
//! **Invariant:** without compression the first records of a batch are the same bytes in a shorter one.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};

use crate::model::batch_builder::BatchBuilder;
use crate::model::compression::{Compression, CompressionError};
use crate::model::record_batch::{CRC_START, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC};
use crate::model::{ProducerEpoch, ProducerId, Timestamp};

/// Compressed bodies kept, bytes: they share nothing, and there is one for each number of records.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Producer id, epoch, and the sequence of a batch's first record.
pub(super) type Sequenced = (ProducerId, ProducerEpoch, i32);
/// Of who is not idempotent.
pub(super) const NOT_SEQUENCED: Sequenced = (ProducerId::NONE, ProducerEpoch(-1), -1);

/// The records of a batch as they travel.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// The bytes after the header.
    pub(super) records: Bytes,
    count: i32,
    attributes: i16,
    crc: u32,
    /// What each bit of a CRC becomes when as many zeros as there are bytes follow; made for bodies
    /// that are used again.
    shift: Option<Rc<[u32; 32]>>,
}

impl Body {
    fn new(batch: &Bytes, count: i32, compression: Compression) -> Self {
        let records = batch.slice(HEADER_BYTES..);
        let crc = crc32c::crc32c(&records);
        Self { records, count, attributes: compression.code(), crc, shift: None }
    }

    fn reusable(mut self) -> Self {
        let zeros = self.records.len();
        let shifted = |bit: usize| crc32c::crc32c_combine(1_u32 << bit, 0, zeros);
        self.shift = Some(Rc::new(std::array::from_fn(shifted)));
        self
    }

    /// The header of a batch of these records, all of the time `at`.
    pub(super) fn header(&self, at: Timestamp, sequenced: Sequenced) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let length = HEADER_BYTES - LENGTH_PREFIX_BYTES + self.records.len();
        let (id, epoch, sequence) = sequenced;
        let mut rest = &mut header[8..];
        let mut put = |bytes: &[u8]| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            here.copy_from_slice(bytes);
            rest = after;
        };
        put(&(length as i32).to_be_bytes());
        put(&(-1_i32).to_be_bytes()); // leader epoch
        put(&[MAGIC]);
        put(&[0; 4]); // CRC, below
        put(&self.attributes.to_be_bytes());
        put(&(self.count - 1).to_be_bytes());
        put(&at.0.to_be_bytes());
        put(&at.0.to_be_bytes());
        put(&id.0.to_be_bytes());
        put(&epoch.0.to_be_bytes());
        put(&sequence.to_be_bytes());
        put(&self.count.to_be_bytes());
        let of_header = crc32c::crc32c(&header[CRC_START..]);
        let crc = match &self.shift {
            None => crc32c::crc32c_append(of_header, &self.records),
            Some(shift) => {
                let set = shift.iter().enumerate().filter(|(bit, _)| of_header >> bit & 1 == 1);
                set.fold(self.crc, |crc, (_, shifted)| crc ^ shifted)
            }
        };
        header[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_be_bytes());
        header
    }
}

/// Makes bodies of any number of records up to a batch full.
pub(super) struct Bodies {
    compression: Compression,
    /// The value of each record of the fullest batch.
    values: Vec<Bytes>,
    /// Length of the first records, encoded but not compressed, by their number.
    ends: Vec<usize>,
    /// The fullest batch, not compressed.
    fullest: Bytes,
    kept: HashMap<u32, Body>,
    kept_bytes: usize,
}

impl Bodies {
    /// Bodies of records with `record_bytes` of value, as many as fit into `batch_bytes`, at least one.
    /// The values look random, in letters, and are the same in each run.
    ///
    /// # Errors
    /// Where the codec fails.
    pub(super) fn new(
        record_bytes: usize,
        batch_bytes: usize,
        compression: Compression,
    ) -> Result<Self, CompressionError> {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let mut builder = BatchBuilder::new(Compression::None);
        let (mut values, mut ends) = (Vec::new(), vec![0]);
        let mut fullest = builder.clone();
        loop {
            let letters = (0..record_bytes).map(|_| random.random_range(b'A'..=b'Z'));
            let value: Bytes = letters.collect();
            builder.append(Timestamp(0), None, Some(&value), &[]);
            if builder.size_bytes() > batch_bytes && !values.is_empty() {
                break;
            }
            values.push(value);
            ends.push(builder.size_bytes() - HEADER_BYTES);
            fullest.append(Timestamp(0), None, values.last().map(|value| &value[..]), &[]);
        }
        let fullest = fullest.build()?;
        let (kept, kept_bytes) = (HashMap::new(), 0);
        Ok(Self { compression, values, ends, fullest, kept, kept_bytes })
    }

    /// How many records the fullest batch has.
    pub(super) fn records_max(&self) -> u32 {
        self.values.len() as u32
    }

    /// The body of `count` records.
    ///
    /// # Errors
    /// Where the codec fails.
    ///
    /// # Panics
    /// On 0 or more than [`Self::records_max`].
    pub(super) fn of(&mut self, count: u32) -> Result<Body, CompressionError> {
        assert!((1..=self.records_max()).contains(&count), "{count} records");
        if let Some(kept) = self.kept.get(&count) {
            return Ok(kept.clone());
        }
        let plain = self.fullest.slice(..HEADER_BYTES + self.ends[count as usize]);
        if self.compression == Compression::None {
            let body = Body::new(&plain, count as i32, Compression::None).reusable();
            self.kept.insert(count, body.clone());
            return Ok(body);
        }
        let mut builder = BatchBuilder::new(self.compression);
        for value in &self.values[..count as usize] {
            builder.append(Timestamp(0), None, Some(value), &[]);
        }
        let body = Body::new(&builder.build()?, count as i32, self.compression);
        if self.kept_bytes + body.records.len() > KEPT_BYTES_MAX {
            return Ok(body);
        }
        self.kept_bytes += body.records.len();
        let body = body.reusable();
        self.kept.insert(count, body.clone());
        Ok(body)
    }

    /// A body used once: `count` records whose values begin with what `stamp` gives for each, as far as
    /// they are long enough.
    ///
    /// # Errors
    /// Where the codec fails.
    pub(super) fn stamped(
        &self,
        count: u32,
        stamp: impl Fn(u32) -> [u8; 16],
    ) -> Result<Body, CompressionError> {
        let mut builder = BatchBuilder::new(self.compression);
        for (index, value) in (0..count).zip(&self.values) {
            let stamp = stamp(index);
            let mut stamped = value.to_vec();
            let length = stamped.len().min(stamp.len());
            stamped[..length].copy_from_slice(&stamp[..length]);
            builder.append(Timestamp(0), None, Some(&stamped), &[]);
        }
        Ok(Body::new(&builder.build()?, count as i32, self.compression))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record_batch::validate;
    use crate::model::records::RecordBatch;

    fn batch(body: &Body, sequenced: Sequenced) -> Bytes {
        [&body.header(Timestamp(1_700_000_000_000), sequenced)[..], &body.records].concat().into()
    }

    #[test]
    fn every_batch_is_well_formed_whatever_its_length_and_header() {
        for compression in Compression::ALL {
            let mut bodies = Bodies::new(100, 4096, compression).unwrap();
            assert!((35..=38).contains(&bodies.records_max()));
            for count in [1, 2, 17, bodies.records_max()] {
                for sequence in [0, 1, 77, i32::MAX] {
                    let sequenced = (ProducerId(1 << 40), ProducerEpoch(3), sequence);
                    // The second time from what was kept.
                    for _ in 0..2 {
                        let body = bodies.of(count).unwrap();
                        let batch = batch(&body, sequenced);
                        let header = validate(&batch).unwrap();
                        assert_eq!(header.record_count, count as i32);
                        assert_eq!(header.base_sequence, sequence);
                        let records = RecordBatch::decode(&batch, 1 << 20).unwrap();
                        for (index, record) in (&records).into_iter().enumerate() {
                            let record = record.unwrap();
                            assert_eq!(record.timestamp, Timestamp(1_700_000_000_000));
                            assert_eq!(record.value.unwrap(), &bodies.values[index][..]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_batch_is_as_large_as_asked_but_holds_a_record() {
        let mut bodies = Bodies::new(1024, 16_384, Compression::None).unwrap();
        let fullest = bodies.of(bodies.records_max()).unwrap();
        assert!(HEADER_BYTES + fullest.records.len() <= 16_384);
        assert!(HEADER_BYTES + fullest.records.len() > 15_000);
        assert_eq!(Bodies::new(1024, 1, Compression::None).unwrap().records_max(), 1);
        let mut empty = Bodies::new(0, 1, Compression::None).unwrap();
        validate(&batch(&empty.of(1).unwrap(), NOT_SEQUENCED)).unwrap();
    }

    #[test]
    fn stamps_lie_at_the_front_of_each_value() {
        let bodies = Bodies::new(20, 4096, Compression::Lz4).unwrap();
        let body = bodies.stamped(3, |index| [index as u8; 16]).unwrap();
        let batch = batch(&body, NOT_SEQUENCED);
        validate(&batch).unwrap();
        let records = RecordBatch::decode(&batch, 1 << 20).unwrap();
        for (index, record) in (&records).into_iter().enumerate() {
            let value = record.unwrap().value.unwrap();
            assert_eq!((value.len(), &value[..16]), (20, &[index as u8; 16][..]));
        }
    }
}
