//! Which term began where: the leader epoch list (`LeaderEpochFileCache` in Kafka).
//!
//! **Invariant:** terms, first indexes and start offsets ascend; it is a function of the log alone.

use crate::model::{LeaderEpoch, Offset};

/// Where a term's entries begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EpochStart {
    pub(super) term: u64,
    pub(super) first_index: u64,
    pub(super) start_offset: Offset,
}

/// The terms of the entries that a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs(Vec<EpochStart>);

impl Epochs {
    pub(super) fn from_starts(starts: Vec<EpochStart>) -> Self {
        Self(starts)
    }

    pub(super) fn starts(&self) -> &[EpochStart] {
        &self.0
    }

    /// Notes an entry; a term's first one begins it.
    pub(super) fn note(&mut self, term: u64, index: u64, offset: Offset) {
        if self.0.last().is_none_or(|e| e.term < term) {
            self.0.push(EpochStart { term, first_index: index, start_offset: offset });
        }
    }

    /// Forgets terms that began at `next_index` or later.
    pub(super) fn truncate_from(&mut self, next_index: u64) {
        self.0.retain(|e| e.first_index < next_index);
    }

    /// Forgets terms that ended before `first_index`; the one that goes on begins there.
    pub(super) fn purge_before(&mut self, first_index: u64, start_offset: Offset) {
        let keep = self.0.partition_point(|e| e.first_index <= first_index).saturating_sub(1);
        self.0.drain(..keep);
        if let Some(first) = self.0.first_mut().filter(|e| e.first_index < first_index) {
            first.first_index = first_index;
            first.start_offset = start_offset;
        }
    }

    /// The term of the entry at `index`, which the caller knows to exist.
    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        let after = self.0.partition_point(|e| e.first_index <= index);
        after.checked_sub(1).map(|at| self.0[at].term)
    }

    /// The epoch that a record at `offset` has (`LeaderEpochFileCache.epochForOffset`), for one that is there or
    /// comes next.
    pub(super) fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.0.partition_point(|e| e.start_offset <= offset);
        after.checked_sub(1).map(|at| LeaderEpoch(self.0[at].term as i32))
    }

    /// What OffsetForLeaderEpoch answers (`LeaderEpochFileCache.endOffsetFor`): the largest known
    /// epoch ≤ `epoch` and its end offset; `end` is the end of the newest. `None`: not known.
    pub(super) fn end_offset(
        &self,
        epoch: LeaderEpoch,
        end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let asked = u64::try_from(epoch.0).ok()?;
        let newest = self.0.last()?;
        if asked == newest.term {
            return Some((epoch, end));
        }
        let after = self.0.partition_point(|e| e.term <= asked);
        let higher = self.0.get(after)?;
        let answered = match after.checked_sub(1) {
            Some(at) => LeaderEpoch(self.0[at].term as i32),
            // Older than all that is known: it ends where the first known begins.
            None => epoch,
        };
        Some((answered, higher.start_offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> Epochs {
        let mut epochs = Epochs::default();
        for (term, index, offset) in [(1, 0, 0), (1, 1, 0), (3, 5, 40), (4, 9, 90), (4, 10, 90)] {
            epochs.note(term, index, Offset(offset));
        }
        epochs
    }

    #[test]
    fn answers_as_kafka_does() {
        let epochs = epochs();
        let ask = |epoch| epochs.end_offset(LeaderEpoch(epoch), Offset(100));
        assert_eq!(ask(4), Some((LeaderEpoch(4), Offset(100))));
        assert_eq!(ask(3), Some((LeaderEpoch(3), Offset(90))));
        assert_eq!(ask(2), Some((LeaderEpoch(1), Offset(40))));
        assert_eq!(ask(1), Some((LeaderEpoch(1), Offset(40))));
        assert_eq!(ask(0), Some((LeaderEpoch(0), Offset(0))));
        assert_eq!(ask(5), None);
        assert_eq!(ask(-1), None);
    }

    #[test]
    fn knows_the_epoch_of_each_record() {
        let mut epochs = epochs();
        epochs.note(5, 11, Offset(90));
        let asked = [0, 39, 40, 89, 90, 1_000].map(|offset| epochs.epoch_of(Offset(offset)));
        assert_eq!(asked, [1, 1, 3, 3, 5, 5].map(|epoch| Some(LeaderEpoch(epoch))));
        epochs.purge_before(9, Offset(90));
        assert_eq!(epochs.epoch_of(Offset(89)), None);
    }

    #[test]
    fn purge_and_truncate_keep_terms_of_what_is_left() {
        let mut epochs = epochs();
        epochs.purge_before(7, Offset(60));
        assert_eq!(epochs.starts()[0].first_index, 7);
        assert_eq!(epochs.starts()[0].start_offset, Offset(60));
        assert_eq!((epochs.term_of(7), epochs.term_of(9)), (Some(3), Some(4)));
        epochs.truncate_from(9);
        assert_eq!(epochs.starts().len(), 1);
    }
}
