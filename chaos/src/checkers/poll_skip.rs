//! A consumer goes on at the next record: it never leaves one out that is there, until it is given partitions
//! anew.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::index::following;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Option<Finding> {
    let known = known(history);
    let skipped = following(history).filter_map(|(before, poll)| {
        // The first that is known to be there; offsets may have holes where transactions end.
        let there = known.get(&poll.partition)?;
        let left_out = there.range(before.offset + 1..poll.offset.max(before.offset + 1)).next()?;
        Some(format!(
            "{} read {}@{} and then @{}, and left out @{left_out}",
            poll.consumer, poll.partition, before.offset, poll.offset
        ))
    });
    Finding::broken("poll_skip", skipped.collect())
}

/// Offsets that hold a record, by partition: those that anybody read, or was told.
fn known(history: &History) -> BTreeMap<i32, BTreeSet<i64>> {
    let mut known = BTreeMap::<i32, BTreeSet<i64>>::new();
    for poll in &history.polls {
        known.entry(poll.partition).or_default().insert(poll.offset);
    }
    for send in &history.sends {
        if let Outcome::Ok { partition, offset } = send.outcome {
            known.entry(partition).or_default().insert(offset);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, polled_by};
    use super::*;

    #[test]
    fn a_record_left_out_is_a_skip() {
        let all = [0, 1, 2, 3].map(|offset| polled_by("all", 0, offset));
        let skips = all.clone().into_iter().chain([0, 1, 3].map(|o| polled_by("c", 1, o)));
        let finding = check(&history(skips)).unwrap();
        assert_eq!(finding.examples, ["c read 0@1 and then @3, and left out @2"]);
        let anew = [polled_by("c", 1, 1), polled_by("c", 2, 3)];
        assert_eq!(check(&history(all.into_iter().chain(anew))), None, "given anew in between");
    }

    #[test]
    fn an_offset_without_a_record_may_be_left_out() {
        assert_eq!(check(&history([0, 2].map(|offset| polled_by("c", 1, offset)))), None);
    }
}
