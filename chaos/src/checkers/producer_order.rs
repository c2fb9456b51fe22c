//! Records of one idempotent producer lie in a partition in the order in which it sent them.

use std::collections::{BTreeMap, HashMap};

use super::{Finding, Index};
use crate::history::History;

pub(super) fn check(history: &History, index: &Index<'_>) -> Option<Finding> {
    let mut partitions = HashMap::<(&str, i32), BTreeMap<i64, u64>>::new();
    for poll in &history.polls {
        if let Some(send) = index.sends.get(poll.value.as_str())
            && history.is_idempotent(&send.producer)
        {
            let offsets = partitions.entry((&send.producer, poll.partition)).or_default();
            offsets.insert(poll.offset, send.n);
        }
    }
    let mut cases = Vec::new();
    for ((producer, partition), offsets) in partitions {
        let mut before: Option<(i64, u64)> = None;
        for (offset, n) in offsets {
            // The same number twice is a duplicate, which has its own checker.
            if let Some((earlier, last)) = before
                && n < last
            {
                cases.push(format!(
                    "producer {producer}: its {last} is at {partition}@{earlier}, its {n} after \
                     that at {partition}@{offset}"
                ));
            }
            before = Some((offset, n));
        }
    }
    cases.sort();
    Finding::broken("producer_order", cases)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, poll};
    use super::*;

    #[test]
    fn a_later_send_at_a_lower_offset_is_out_of_order() {
        let events = [ok(0, 0, 1), ok(1, 0, 0), ok(2, 1, 0), poll(0, 0, 1), poll(0, 1, 0)];
        let history = history(events);
        let finding = check(&history, &Index::of(&history)).unwrap();
        assert_eq!(finding.examples, ["producer p: its 1 is at 0@0, its 0 after that at 0@1"]);
    }
}
