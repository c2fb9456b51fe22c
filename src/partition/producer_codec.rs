//! The bytes of producer states, within a snapshot.
//!
//! ```text
//! newest timestamp i64 | sweep at u64 | producers u32, then for each, by ascending id:
//!   id i64 | epoch i16 | last timestamp i64 | batches u8, then for each, oldest first:
//!     base sequence i32 | last sequence i32 | base offset i64 | last offset i64
//! ```
//! The first of six batches stands for all before the others.
//!
//! **Invariant:** equal states have equal bytes, and decoding gives the whole state back: a replica that
//! began with a snapshot forgets silent producers at the same batch as one that read the whole log.

use bytes::BufMut;

use super::producer_state::{ProducerEntry, ProducerStates, SEEN_MAX, SeenBatch};
use crate::model::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Reads big-endian numbers; `None` once the bytes are used up.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

impl ProducerStates {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.newest.0);
        out.put_u64(self.sweep_at as u64);
        out.put_u32(u32::try_from(self.producers.len()).expect("fewer than 2^32 producers"));
        let mut producers: Vec<_> = self.producers.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| **id);
        for (id, entry) in producers {
            out.put_i64(id.0);
            out.put_i16(entry.epoch.0);
            out.put_i64(entry.last_timestamp.0);
            out.put_u8(u8::try_from(entry.batches.len()).expect("at most six batches"));
            for seen in &entry.batches {
                out.put_i32(seen.base_sequence);
                out.put_i32(seen.last_sequence);
                out.put_i64(seen.base_offset.0);
                out.put_i64(seen.last_offset.0);
            }
        }
    }

    /// `None` where the bytes are none of these.
    pub(super) fn decode(input: &mut Input<'_>) -> Option<Self> {
        let newest = Timestamp(input.i64()?);
        let sweep_at = usize::try_from(input.u64()?).ok()?;
        let count = input.u32()?;
        let mut states = Self { newest, sweep_at, ..Self::default() };
        for _ in 0..count {
            let id = ProducerId(input.i64()?);
            let epoch = ProducerEpoch(i16::from_be_bytes(input.take()?));
            let last_timestamp = Timestamp(input.i64()?);
            let [batches] = input.take()?;
            if usize::from(batches) > SEEN_MAX {
                return None;
            }
            let batches = (0..batches).map(|_| decode_batch(input)).collect::<Option<_>>()?;
            states.producers.insert(id, ProducerEntry { epoch, batches, last_timestamp });
        }
        Some(states)
    }
}

fn decode_batch(input: &mut Input<'_>) -> Option<SeenBatch> {
    Some(SeenBatch {
        base_sequence: input.i32()?,
        last_sequence: input.i32()?,
        base_offset: Offset(input.i64()?),
        last_offset: Offset(input.i64()?),
    })
}
