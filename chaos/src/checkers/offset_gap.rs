//! Offsets start at 0 and have no gap: Raft's own entries take none.
//!
//! It holds for topics without retention, compaction and transactions, which is what the workloads
//! write to.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::history::History;

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut partitions = BTreeMap::<i32, BTreeSet<i64>>::new();
    for poll in &history.polls {
        partitions.entry(poll.partition).or_default().insert(poll.offset);
    }
    let mut cases = Vec::new();
    for (partition, offsets) in partitions {
        let mut next = 0;
        for offset in offsets {
            if offset != next {
                cases.push(format!("partition {partition} has nothing at {next}..{offset}"));
            }
            next = offset + 1;
        }
    }
    Finding::broken("offset_gap", cases)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, poll};
    use super::*;

    #[test]
    fn a_hole_and_a_late_start_are_gaps() {
        let finding = check(&history([poll(0, 0, 0), poll(0, 3, 1), poll(1, 1, 2)])).unwrap();
        assert_eq!(
            finding.examples,
            ["partition 0 has nothing at 1..3", "partition 1 has nothing at 0..1"]
        );
    }
}
