//! Records of one key of an idempotent producer lie in one partition, in the order in which they were sent.
//!
//! It holds while a topic keeps its number of partitions, which is what the workloads' topics do.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Index};
use crate::history::History;

pub(super) fn check(history: &History, index: &Index<'_>) -> Option<Finding> {
    let mut keys = BTreeMap::<(&str, &str), BTreeSet<((i32, i64), u64)>>::new();
    for send in history.sends.iter().filter(|send| history.is_idempotent(&send.producer)) {
        let places = index.places.get(send.value.as_str()).filter(|_| !send.key.is_empty());
        for place in places.into_iter().flatten() {
            keys.entry((&send.producer, &send.key)).or_default().insert((*place, send.n));
        }
    }
    let mut cases = Vec::new();
    for ((producer, key), places) in keys {
        let places: Vec<_> = places.into_iter().collect();
        let wrong =
            places.windows(2).find(|pair| pair[0].0.0 != pair[1].0.0 || pair[0].1 > pair[1].1);
        if let Some([(first, n), (then, next)]) = wrong {
            cases.push(format!(
                "key {key} of producer {producer}: its {n} is at {}@{}, its {next} at {}@{}",
                first.0, first.1, then.0, then.1
            ));
        }
    }
    Finding::broken("key_order", cases)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, poll};
    use super::*;

    fn checked(places: [(i32, i64, u64); 2]) -> Option<Finding> {
        let polls = places.map(|(partition, offset, n)| poll(partition, offset, n));
        let history = history([ok(0, 0, 0), ok(1, 0, 1)].into_iter().chain(polls));
        check(&history, &Index::of(&history))
    }

    #[test]
    fn a_key_in_two_partitions_or_out_of_order_is_found() {
        let apart = checked([(0, 0, 0), (1, 0, 1)]).unwrap();
        assert_eq!(apart.examples, ["key k0 of producer p: its 0 is at 0@0, its 1 at 1@0"]);
        let turned = checked([(0, 5, 0), (0, 2, 1)]).unwrap();
        assert_eq!(turned.examples, ["key k0 of producer p: its 1 is at 0@2, its 0 at 0@5"]);
        assert_eq!(checked([(0, 2, 0), (0, 5, 1)]), None);
    }
}
