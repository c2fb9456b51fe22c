//! Which batches a leader may append next, counting those still on their way through Raft.
//!
//! The committed [`ProducerStates`] lag behind what the leader has already proposed. This overlay
//! holds the difference: for each producer with batches in flight, the state as if they were
//! committed.
//!
//! **Invariant:** every [`Admission::admit`] that answered [`Verdict::Append`] is followed by exactly
//! one [`Admission::settle`] for the same producer.
//! **Invariant:** a producer that is not known and does not begin at sequence 0 is let in when it
//! comes again ([`super::strangers`]).

use std::collections::HashMap;

use super::producer_state::{ProducerEntry, ProducerStates, SequenceError, Verdict};
use super::strangers::Strangers;
use crate::model::mutant;
use crate::model::record_batch::BatchHeader;
use crate::model::{Offset, ProducerId};

/// The overlay of one leader's proposals in flight.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pending: HashMap<ProducerId, Pending>,
    strangers: Strangers,
}

#[derive(Debug)]
struct Pending {
    entry: ProducerEntry,
    in_flight: usize,
}

impl Admission {
    /// Judges a batch that would be appended at `base_offset`, and remembers it if it may be.
    ///
    /// # Errors
    /// [`SequenceError`] where Kafka refuses the batch.
    pub(super) fn admit(
        &mut self,
        committed: &ProducerStates,
        header: &BatchHeader,
        base_offset: Offset,
    ) -> Result<Verdict, SequenceError> {
        if !header.has_producer_id() {
            return Ok(Verdict::Append);
        }
        let id = header.producer_id;
        if let Some(pending) = self.pending.get_mut(&id) {
            let verdict = pending.entry.check(header)?;
            if verdict == Verdict::Append {
                pending.entry.record(header, base_offset);
                pending.in_flight += 1;
            }
            if verdict == Verdict::Old {
                let settled = committed.get(id).map(|known| known.check(header));
                let is_committed = |verdict: &Verdict| *verdict != Verdict::Append;
                return Ok(settled
                    .and_then(Result::ok)
                    .filter(is_committed)
                    .unwrap_or(Verdict::Unsettled));
            }
            return Ok(verdict);
        }
        let entry = match committed.get(id) {
            None => {
                self.strangers.admit(header)?;
                ProducerEntry::first(header, base_offset)
            }
            Some(known) => match known.check(header)? {
                Verdict::Append => {
                    let mut entry = known.clone();
                    entry.record(header, base_offset);
                    entry
                }
                _ if mutant::is_on("duplicates-admitted") => {
                    ProducerEntry::first(header, base_offset)
                }
                duplicate => return Ok(duplicate),
            },
        };
        self.pending.insert(id, Pending { entry, in_flight: 1 });
        Ok(Verdict::Append)
    }

    /// Takes note that one admitted batch has been committed, refused or lost.
    pub(super) fn settle(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() {
            return;
        }
        let Some(pending) = self.pending.get_mut(&header.producer_id) else {
            return;
        };
        pending.in_flight -= 1;
        if pending.in_flight == 0 {
            self.pending.remove(&header.producer_id);
        }
    }

    /// Forgets all proposals in flight: their outcome will be read from the log.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.strangers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProducerEpoch;
    use crate::model::record_batch::tests::opaque_batch;

    fn header(sequence: i32) -> BatchHeader {
        let mut header = BatchHeader::parse(&opaque_batch(1, b"")).unwrap();
        header.producer_id = ProducerId(1);
        header.producer_epoch = ProducerEpoch(0);
        header.base_sequence = sequence;
        header
    }

    #[test]
    fn a_second_batch_does_not_overtake_the_first() {
        let committed = ProducerStates::default();
        let mut admission = Admission::default();
        let mut admit = |sequence, at| admission.admit(&committed, &header(sequence), Offset(at));
        // The first one was refused by the leader before.
        for sequence in 1..=4 {
            let refused = admit(sequence, 0).unwrap_err();
            assert!(matches!(refused, SequenceError::Unknown { .. }), "{refused}");
        }
        for sequence in 0..=4 {
            assert_eq!(admit(sequence, i64::from(sequence)), Ok(Verdict::Append));
        }
    }

    #[test]
    fn batches_in_flight_count_as_appended() {
        let committed = ProducerStates::default();
        let mut admission = Admission::default();
        assert_eq!(admission.admit(&committed, &header(0), Offset(10)), Ok(Verdict::Append));
        assert_eq!(admission.admit(&committed, &header(1), Offset(11)), Ok(Verdict::Append));
        assert_eq!(
            admission.admit(&committed, &header(0), Offset(12)),
            Ok(Verdict::Duplicate { base_offset: Offset(10), last_offset: Offset(10) })
        );
        assert!(admission.admit(&committed, &header(3), Offset(12)).is_err());
    }

    #[test]
    fn an_old_batch_counts_as_appended_once_it_is_committed() {
        let mut committed = ProducerStates::default();
        let mut admission = Admission::default();
        for sequence in 0..20 {
            let at = Offset(i64::from(sequence));
            let verdict = admission.admit(&committed, &header(sequence), at);
            assert_eq!(verdict, Ok(Verdict::Append));
        }
        let mut retry = |committed: &ProducerStates| {
            admission.admit(committed, &header(3), Offset(20)).unwrap()
        };
        assert_eq!(retry(&committed), Verdict::Unsettled);
        for sequence in 0..20 {
            let expected = match sequence {
                0..=3 => Verdict::Unsettled,
                4..=8 => Verdict::Duplicate { base_offset: Offset(3), last_offset: Offset(3) },
                _ => Verdict::Old,
            };
            assert_eq!(retry(&committed), expected, "{sequence} are committed");
            let mut next = header(sequence);
            next.base_offset = Offset(i64::from(sequence));
            committed.record(&next);
        }
    }

    #[test]
    fn the_overlay_is_dropped_when_all_is_settled() {
        let mut committed = ProducerStates::default();
        let mut admission = Admission::default();
        let mut first = header(0);
        admission.admit(&committed, &first, Offset(0)).unwrap();
        first.base_offset = Offset(0);
        committed.record(&first);
        admission.settle(&first);
        assert!(admission.pending.is_empty());
        assert_eq!(admission.admit(&committed, &header(1), Offset(1)), Ok(Verdict::Append));
    }

    #[test]
    fn a_refused_proposal_leaves_no_trace() {
        let committed = ProducerStates::default();
        let mut admission = Admission::default();
        admission.admit(&committed, &header(0), Offset(0)).unwrap();
        admission.settle(&header(0));
        assert_eq!(admission.admit(&committed, &header(0), Offset(0)), Ok(Verdict::Append));
    }
}
