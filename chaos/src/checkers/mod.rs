//! One invariant per file, each a function over a history.
//!
//! | file | what must never be |
//! |---|---|
//! | `lost_write` | an acknowledged record that is not read at the end |
//! | `duplicate` | a record of an idempotent producer at two offsets |
//! | `producer_order` | records of one producer in one partition out of its order |
//! | `inconsistent_offset` | two values at one offset |
//! | `aborted_read` | a refused record, or one that nobody sent, that is read |
//! | `offset_gap` | an offset below the last one read that holds no record |
//! | `committed_offset` | a group's committed offset going back |
//! | `poll_skip` | a consumer that leaves a record out |
//! | `nonmonotonic_poll` | a consumer that reads a partition backwards |
//! | `nonmonotonic_send` | an idempotent producer that is told a lower offset for a later send |
//! | `key_order` | records of one key in two partitions, or out of order |
//! | `read_before_commit` | a record that was read and is beyond a later high watermark |
//! | `double_assignment` | a partition of two members of a group in one generation, or a late commit accepted |
//! | `two_leaders` | a leader that answers after a later one (an epoch going back), or two in one epoch |
//! | `stale_answer` | a leader's high watermark below what was acknowledged or answered before |
//! | `replica_divergence` | replicas that hold other committed bytes |
//! | `liveness` | writes that stand still for longer than promised though a majority can work |
//! | `too_few_acknowledged` | a green run in which hardly anything was acknowledged, all in all or within a fault |
//!
//! **Invariant:** each checker has a test that feeds it a history with its bug.

mod aborted_read;
mod committed_offset;
mod double_assignment;
mod duplicate;
mod finding;
mod inconsistent_offset;
mod index;
mod key_order;
mod liveness;
mod lost_write;
mod nonmonotonic_poll;
mod nonmonotonic_send;
mod offset_gap;
mod poll_skip;
mod producer_order;
mod read_before_commit;
mod replica_divergence;
#[cfg(test)]
mod sample;
mod stale_answer;
mod too_few_acknowledged;
mod two_leaders;

pub use finding::{Finding, Kind};

use crate::history::History;
use index::Index;

/// What a run promises beyond the invariants.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// Acknowledged sends below which a run proves nothing.
    pub acknowledged_min: usize,
    /// The same within each fault that a majority of the nodes survives.
    pub acknowledged_in_fault_min: usize,
}

/// Applies every checker; an empty list is a green run.
#[must_use]
pub fn check(history: &History, expected: Expectation) -> Vec<Finding> {
    let index = Index::of(history);
    [
        too_few_acknowledged::check(history, expected),
        lost_write::check(history),
        duplicate::check(history, &index),
        producer_order::check(history, &index),
        inconsistent_offset::check(history),
        aborted_read::check(history, &index),
        offset_gap::check(history),
        committed_offset::check(history),
        poll_skip::check(history),
        nonmonotonic_poll::check(history),
        nonmonotonic_send::check(history),
        key_order::check(history, &index),
        read_before_commit::check(history),
        double_assignment::check(history),
        two_leaders::check(history),
        stale_answer::check(history),
        replica_divergence::check(history),
        liveness::check(history),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_history_has_no_finding() {
        let history = sample::clean();
        assert_eq!(
            check(&history, Expectation { acknowledged_min: 4, acknowledged_in_fault_min: 0 }),
            []
        );
    }

    #[test]
    fn an_empty_history_is_unknown_rather_than_green() {
        let findings = check(
            &History::default(),
            Expectation { acknowledged_min: 1, acknowledged_in_fault_min: 1 },
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].kind, Kind::Unknown);
    }
}
