//! Producers that a partition does not know and that do not begin at sequence 0: they are let in when they
//! come again.
//!
//! Such a batch tells one of two things. Either what was known of the producer is gone: it was silent for
//! too long, or the topic was made anew under the same name. Or it is the second batch of a new producer,
//! whose first one is still at the leader before, or was refused there. To let that one in would be to lose
//! the first: its retry would be out of order for ever (Java's client sends it until its time is up,
//! KAFKA-14359), and librdkafka takes the answer to the second for an acknowledgement of both.
//!
//! Clients tell the two apart: after a refusal that is worth a retry they send nothing of the partition again
//! before all that was sent earlier is answered, and then the oldest of what was refused. (Java's
//! `RecordAccumulator.shouldStopDrainBatchesForPartition`, librdkafka's `rd_kafka_idemp_drain_toppar`.)
//! So a batch that comes again is the oldest one that the client has.
//!
//! **Invariant:** who is refused here is remembered, and let in with the same batch the next time, unless
//! memory was full meanwhile ([`PRODUCERS_MAX`]): then all are asked once more.
//! **Invariant:** it is memory of one leadership, never part of the replicated state.

use std::collections::{HashMap, VecDeque};

use super::producer_state::{BATCHES_KEPT, SequenceError};
use crate::model::record_batch::BatchHeader;
use crate::model::{ProducerEpoch, ProducerId};

/// Producers remembered: they choose their ids, so memory needs a bound.
const PRODUCERS_MAX: usize = 1_000;

/// Who was refused, and with what.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    refused: HashMap<ProducerId, Refused>,
}

/// The batches of one producer that were refused, by their base sequences: those of the last few.
#[derive(Debug)]
struct Refused {
    epoch: ProducerEpoch,
    sequences: VecDeque<i32>,
}

impl Strangers {
    /// Judges a batch of a producer that is not known.
    ///
    /// # Errors
    /// [`SequenceError::Unknown`] where it neither begins at 0 nor comes again.
    pub(super) fn admit(&mut self, header: &BatchHeader) -> Result<(), SequenceError> {
        let (id, sequence) = (header.producer_id, header.base_sequence);
        let comes_again = self.refused.get(&id).is_some_and(|refused| {
            refused.epoch == header.producer_epoch && refused.sequences.contains(&sequence)
        });
        if sequence == 0 || comes_again {
            self.refused.remove(&id);
            return Ok(());
        }
        self.remember(id, header.producer_epoch, sequence);
        Err(SequenceError::Unknown { producer: id, found: sequence })
    }

    fn remember(&mut self, id: ProducerId, epoch: ProducerEpoch, sequence: i32) {
        if self.refused.len() == PRODUCERS_MAX && !self.refused.contains_key(&id) {
            self.refused.clear();
        }
        let new = || Refused { epoch, sequences: VecDeque::with_capacity(1) };
        let refused = self.refused.entry(id).or_insert_with(new);
        if refused.epoch != epoch {
            *refused = new();
        }
        if refused.sequences.len() == BATCHES_KEPT {
            refused.sequences.pop_front();
        }
        refused.sequences.push_back(sequence);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.refused.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record_batch::tests::opaque_batch;

    fn header(producer: i64, epoch: i16, sequence: i32) -> BatchHeader {
        let mut header = BatchHeader::parse(&opaque_batch(1, b"")).unwrap();
        header.producer_id = ProducerId(producer);
        header.producer_epoch = ProducerEpoch(epoch);
        header.base_sequence = sequence;
        header
    }

    #[test]
    fn who_begins_at_zero_is_let_in() {
        assert_eq!(Strangers::default().admit(&header(7, 3, 0)), Ok(()));
    }

    #[test]
    fn the_oldest_batch_that_a_client_has_is_let_in_when_it_comes_again() {
        // Near the end of the sequence numbers the oldest is not the lowest.
        for sequences in [[30, 60, 90], [90, 60, 30], [i32::MAX - 4, 25, 55]] {
            let mut strangers = Strangers::default();
            for sequence in sequences {
                let unknown = SequenceError::Unknown { producer: ProducerId(7), found: sequence };
                assert_eq!(strangers.admit(&header(7, 0, sequence)), Err(unknown));
            }
            assert_eq!(strangers.admit(&header(7, 0, sequences[0])), Ok(()));
        }
    }

    #[test]
    fn an_epoch_and_a_producer_are_remembered_for_themselves() {
        let mut strangers = Strangers::default();
        assert!(strangers.admit(&header(7, 0, 30)).is_err());
        assert!(strangers.admit(&header(8, 0, 30)).is_err());
        assert!(strangers.admit(&header(7, 1, 30)).is_err());
        assert!(strangers.admit(&header(7, 0, 30)).is_err(), "the newer epoch replaced it");
        assert_eq!(strangers.admit(&header(8, 0, 30)), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut strangers = Strangers::default();
        for producer in 0..10 * PRODUCERS_MAX as i64 {
            for sequence in 1..20 {
                assert!(strangers.admit(&header(producer, 0, sequence)).is_err());
            }
        }
        assert!(strangers.refused.len() <= PRODUCERS_MAX);
        assert!(strangers.refused.values().all(|one| one.sequences.len() <= BATCHES_KEPT));
    }
}
