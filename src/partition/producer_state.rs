//! What a partition knows of each idempotent producer: its epoch, its last five batches, and where the
//! gapless run began that they end.
//!
//! Kafka's `ProducerStateManager` and `ProducerAppendInfo`, as pure data. The state is a function of
//! the committed log, so every replica holds the same one and a new leader answers a retry as the
//! old leader would have.
//!
//! **Invariant:** [`ProducerStates::record`] is called once per committed batch, in log order.
//! **Invariant:** a known producer continues without a gap. One that is not known may begin anywhere, since
//! its state may have expired; which batch a leader takes for its first is [`super::strangers`]' part.

use std::collections::{HashMap, VecDeque};

use crate::model::record_batch::BatchHeader;
use crate::model::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Batches remembered one by one per producer: a client has at most five requests in flight (KIP-98).
pub(super) const BATCHES_KEPT: usize = 5;
/// And one in front of them that stands for all before.
pub(super) const SEEN_MAX: usize = BATCHES_KEPT + 1;

/// The most numbers that one entry stands for: numbers wrap, and those far behind must not look like those
/// that come.
const RUN_MAX: i32 = 1 << 30;

/// How long a silent producer is remembered (Kafka's `producer.id.expiration.ms` default).
const EXPIRATION_MS: i64 = 86_400_000;

/// Producers kept before silent ones are looked for.
const SWEEP_THRESHOLD: usize = 1_000;

/// Why a batch of an idempotent producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The sequence leaves a gap or goes back (Kafka: OUT_OF_ORDER_SEQUENCE_NUMBER).
    #[error("sequence {found} of producer {producer} is out of order: {expected} was next")]
    OutOfOrder {
        /// Whose.
        producer: ProducerId,
        /// The sequence that would have continued.
        expected: i32,
        /// The sequence that came.
        found: i32,
    },
    /// The batch was appended, and nothing but that is remembered of it (Kafka: DUPLICATE_SEQUENCE_NUMBER,
    /// which clients take for success without an offset).
    #[error("the batch at sequence {found} of producer {producer} was appended a while ago")]
    Duplicate {
        /// Whose.
        producer: ProducerId,
        /// The sequence that came.
        found: i32,
    },
    /// The producer is not known, and this is not its first batch: that one may be on its way. Sent
    /// again, it is taken for the first.
    #[error(
        "producer {producer} is not known here and begins at sequence {found}: sent again, it is taken if \
         nothing comes before it"
    )]
    Unknown {
        /// Whose.
        producer: ProducerId,
        /// The sequence that came.
        found: i32,
    },
    /// A newer instance of the producer exists (Kafka: INVALID_PRODUCER_EPOCH).
    #[error("epoch {found} of producer {producer} is fenced by epoch {current}")]
    Fenced {
        /// Whose.
        producer: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The epoch that came.
        found: ProducerEpoch,
    },
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It continues the sequence.
    Append,
    /// It was appended before, at these offsets.
    Duplicate {
        /// First offset of the original.
        base_offset: Offset,
        /// Last offset of the original.
        last_offset: Offset,
    },
    /// It was appended before those that are remembered one by one.
    Old,
    /// It was appended before some that are in flight, and may be so itself.
    Unsettled,
}

/// Adds to a sequence number, which wraps from 2³¹−1 to 0.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// How far one sequence number is behind another.
fn sequences_between(from: i32, to: i32) -> i32 {
    to.wrapping_sub(from) & i32::MAX
}

/// One remembered batch, or several without a gap between their sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenBatch {
    pub(super) base_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
}

impl SeenBatch {
    fn covers(&self, base_sequence: i32, last_sequence: i32) -> bool {
        let reach = sequences_between(self.base_sequence, self.last_sequence);
        let base = sequences_between(self.base_sequence, base_sequence);
        base <= reach && sequences_between(self.base_sequence, last_sequence) <= reach
    }

    /// With those of `older`, which end where these begin, unless that would be too many.
    fn joined_to(self, older: &Self) -> Self {
        if sequences_between(older.base_sequence, self.last_sequence) >= RUN_MAX {
            return self;
        }
        let Self { base_sequence, base_offset, .. } = *older;
        Self { base_sequence, base_offset, ..self }
    }
}

/// One producer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProducerEntry {
    pub(super) epoch: ProducerEpoch,
    /// Oldest first; of [`SEEN_MAX`] the first stands for all before the others.
    pub(super) batches: VecDeque<SeenBatch>,
    pub(super) last_timestamp: Timestamp,
}

impl ProducerEntry {
    /// Judges a batch of this producer against what it sent before.
    ///
    /// # Errors
    /// [`SequenceError`] where Kafka refuses.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        if header.producer_epoch < self.epoch {
            return Err(SequenceError::Fenced {
                producer: header.producer_id,
                current: self.epoch,
                found: header.producer_epoch,
            });
        }
        if header.producer_epoch > self.epoch {
            return in_order(header, 0);
        }
        let last_sequence = sequence_after(header.base_sequence, header.last_offset_delta);
        let original = self.batches.iter().find(|seen| {
            seen.base_sequence == header.base_sequence && seen.last_sequence == last_sequence
        });
        if let Some(seen) = original {
            return Ok(Verdict::Duplicate {
                base_offset: seen.base_offset,
                last_offset: seen.last_offset,
            });
        }
        // All of a run was appended, and Java's client may have missed the answers for a long time: while a
        // request to a leader that is cut off waits for its time-out, its successor is sent new batches.
        let oldest = self.batches.front().filter(|_| self.batches.len() == SEEN_MAX);
        if oldest.is_some_and(|seen| seen.covers(header.base_sequence, last_sequence)) {
            return Ok(Verdict::Old);
        }
        match self.batches.back() {
            Some(seen) => in_order(header, sequence_after(seen.last_sequence, 1)),
            None => Ok(Verdict::Append),
        }
    }

    /// Remembers a batch that was judged [`Verdict::Append`] and lies at `base_offset`.
    pub(super) fn record(&mut self, header: &BatchHeader, base_offset: Offset) {
        if header.producer_epoch > self.epoch {
            self.epoch = header.producer_epoch;
            self.batches.clear();
        }
        if self.batches.len() == SEEN_MAX
            && let Some(oldest) = self.batches.pop_front()
            && let Some(next) = self.batches.front_mut()
        {
            *next = next.joined_to(&oldest);
        }
        self.batches.push_back(SeenBatch {
            base_sequence: header.base_sequence,
            last_sequence: sequence_after(header.base_sequence, header.last_offset_delta),
            base_offset,
            last_offset: base_offset.advance(i64::from(header.last_offset_delta)),
        });
        self.last_timestamp = self.last_timestamp.max(header.max_timestamp);
    }

    /// The state that a producer's first batch leaves.
    #[must_use]
    pub(super) fn first(header: &BatchHeader, base_offset: Offset) -> Self {
        let mut entry = Self {
            epoch: header.producer_epoch,
            batches: VecDeque::with_capacity(1),
            last_timestamp: Timestamp::NONE,
        };
        entry.record(header, base_offset);
        entry
    }
}

fn in_order(header: &BatchHeader, expected: i32) -> Result<Verdict, SequenceError> {
    if header.base_sequence == expected {
        return Ok(Verdict::Append);
    }
    Err(SequenceError::OutOfOrder {
        producer: header.producer_id,
        expected,
        found: header.base_sequence,
    })
}

/// All producers of one partition, as of the last committed batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProducerStates {
    pub(super) producers: HashMap<ProducerId, ProducerEntry>,
    pub(super) sweep_at: usize,
    pub(super) newest: Timestamp,
}

impl ProducerStates {
    /// What is known of one producer.
    #[must_use]
    pub(super) fn get(&self, producer: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer)
    }

    /// Takes in a committed batch; batches without a producer id leave no trace.
    pub(super) fn record(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() || header.is_control() {
            return;
        }
        self.newest = self.newest.max(header.max_timestamp);
        match self.producers.get_mut(&header.producer_id) {
            Some(entry) => entry.record(header, header.base_offset),
            None => {
                let entry = ProducerEntry::first(header, header.base_offset);
                self.producers.insert(header.producer_id, entry);
                self.sweep_silent();
            }
        }
    }

    /// Forgets producers silent for [`EXPIRATION_MS`], measured in the log's own timestamps so that
    /// every replica forgets at the same batch. Runs when the number of producers has doubled, so
    /// that its cost per batch stays constant.
    fn sweep_silent(&mut self) {
        if self.producers.len() < self.sweep_at.max(SWEEP_THRESHOLD) {
            return;
        }
        let oldest = Timestamp(self.newest.0.saturating_sub(EXPIRATION_MS));
        self.producers.retain(|_, entry| entry.last_timestamp >= oldest);
        self.sweep_at = self.producers.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record_batch::{BatchHeader, tests::opaque_batch};

    fn header(epoch: i16, sequence: i32, count: i32, base: i64) -> BatchHeader {
        let mut header = BatchHeader::parse(&opaque_batch(count, b"")).unwrap();
        header.producer_id = ProducerId(7);
        header.producer_epoch = ProducerEpoch(epoch);
        header.base_sequence = sequence;
        header.base_offset = Offset(base);
        header
    }

    fn check(states: &ProducerStates, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        states.get(header.producer_id).map_or(Ok(Verdict::Append), |entry| entry.check(header))
    }

    #[test]
    fn a_retry_is_answered_with_its_first_offset_and_a_gap_is_refused() {
        let mut states = ProducerStates::default();
        states.record(&header(0, 0, 3, 100));
        states.record(&header(0, 3, 2, 103));
        assert_eq!(
            check(&states, &header(0, 0, 3, 0)),
            Ok(Verdict::Duplicate { base_offset: Offset(100), last_offset: Offset(102) })
        );
        assert_eq!(check(&states, &header(0, 5, 1, 0)), Ok(Verdict::Append));
        assert!(matches!(
            check(&states, &header(0, 6, 1, 0)),
            Err(SequenceError::OutOfOrder { expected: 5, found: 6, .. })
        ));
        assert!(check(&states, &header(0, 0, 2, 0)).is_err(), "a different batch, not a retry");
    }

    #[test]
    fn the_last_five_batches_are_known_by_their_offsets_and_older_ones_as_old() {
        let mut states = ProducerStates::default();
        for i in 0..40 {
            states.record(&header(0, 3 * i, 3, i64::from(100 + 3 * i)));
        }
        for i in 35..40 {
            let (base_offset, last_offset) = (Offset(100 + 3 * i), Offset(102 + 3 * i));
            let retry = check(&states, &header(0, 3 * i as i32, 3, 0));
            assert_eq!(retry, Ok(Verdict::Duplicate { base_offset, last_offset }), "{i}");
        }
        for i in 0..35 {
            assert_eq!(check(&states, &header(0, 3 * i, 3, 0)), Ok(Verdict::Old), "{i}");
        }
        assert!(check(&states, &header(0, 102, 6, 0)).is_err(), "old and remembered");
        assert!(check(&states, &header(0, 123, 3, 0)).is_err(), "a gap");
        assert_eq!(check(&states, &header(0, 120, 3, 0)), Ok(Verdict::Append));
        assert_eq!(states.get(ProducerId(7)).unwrap().batches.len(), SEEN_MAX);
    }

    #[test]
    fn what_came_before_the_first_that_was_appended_is_not_old() {
        let mut states = ProducerStates::default();
        for i in 10..30 {
            states.record(&header(0, i, 1, i64::from(i)));
        }
        assert_eq!(check(&states, &header(0, 10, 1, 0)), Ok(Verdict::Old));
        assert!(check(&states, &header(0, 9, 1, 0)).is_err());
        assert!(check(&states, &header(0, 9, 2, 0)).is_err());
        states.record(&header(1, 0, 1, 50));
        assert!(check(&states, &header(1, 15, 1, 0)).is_err(), "of an earlier epoch");
    }

    #[test]
    fn old_sequences_wrap_and_do_not_reach_those_to_come() {
        let mut states = ProducerStates::default();
        let count = 1 << 27;
        for i in 0..40 {
            let base = ((i * i64::from(count)) & i64::from(i32::MAX)) as i32;
            assert_eq!(check(&states, &header(0, base, count, 0)), Ok(Verdict::Append), "{i}");
            states.record(&header(0, base, count, i * i64::from(count)));
            let run = states.get(ProducerId(7)).unwrap().batches[0];
            assert!(sequences_between(run.base_sequence, run.last_sequence) < RUN_MAX);
        }
        let old = ((33 * i64::from(count)) & i64::from(i32::MAX)) as i32;
        assert_eq!(check(&states, &header(0, old, count, 0)), Ok(Verdict::Old));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old() {
        let mut states = ProducerStates::default();
        states.record(&header(0, 0, 3, 0));
        assert!(check(&states, &header(1, 3, 1, 0)).is_err());
        assert_eq!(check(&states, &header(1, 0, 1, 0)), Ok(Verdict::Append));
        states.record(&header(1, 0, 1, 3));
        assert!(matches!(
            check(&states, &header(0, 3, 1, 0)),
            Err(SequenceError::Fenced { current: ProducerEpoch(1), .. })
        ));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        let mut states = ProducerStates::default();
        states.record(&header(0, i32::MAX - 1, 3, 0));
        assert_eq!(check(&states, &header(0, 1, 1, 0)), Ok(Verdict::Append));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        let states = ProducerStates::default();
        assert_eq!(check(&states, &header(4, 1234, 1, 0)), Ok(Verdict::Append));
    }

    #[test]
    fn silent_producers_are_forgotten_by_log_time() {
        let mut states = ProducerStates::default();
        for id in 0..2_000 {
            let mut batch = header(0, 0, 1, id);
            batch.producer_id = ProducerId(id);
            batch.max_timestamp = Timestamp(if id < 900 { 0 } else { EXPIRATION_MS * 2 });
            states.record(&batch);
        }
        assert!(states.producers.len() <= 1_100);
        assert!(states.get(ProducerId(1_999)).is_some());
        assert!(states.get(ProducerId(1)).is_none());
    }
}
