//! An idempotent producer is told ascending offsets for what it sends to a partition one after the other.

use std::collections::BTreeMap;

use super::Finding;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut told = BTreeMap::<(&str, i32), Vec<(u64, i64)>>::new();
    for send in history.sends.iter().filter(|send| history.is_idempotent(&send.producer)) {
        match send.outcome {
            // −1: the broker recognised a retry and did not tell.
            Outcome::Ok { partition, offset } if offset >= 0 => {
                told.entry((&send.producer, partition)).or_default().push((send.n, offset));
            }
            _ => {}
        }
    }
    let mut cases = Vec::new();
    for ((producer, partition), mut offsets) in told {
        offsets.sort_unstable();
        for pair in offsets.windows(2).filter(|pair| pair[1].1 <= pair[0].1) {
            let [(n, offset), (next, then)] = [pair[0], pair[1]];
            cases.push(format!(
                "producer {producer} was told {partition}@{offset} for its {n} and @{then} for its {next}"
            ));
        }
    }
    Finding::broken("nonmonotonic_send", cases)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok};
    use super::*;

    #[test]
    fn a_later_send_with_a_lower_offset_is_found() {
        let mut history = history([ok(0, 0, 7), ok(2, 0, 5), ok(1, 1, 3)]);
        let finding = check(&history).unwrap();
        assert_eq!(finding.examples, ["producer p was told 0@7 for its 0 and @5 for its 2"]);
        history.idempotent.clear();
        assert_eq!(check(&history), None, "a plain producer's retries may overtake");
    }

    #[test]
    fn reports_may_come_in_any_order_and_without_an_offset() {
        assert_eq!(check(&history([ok(1, 0, 8), ok(0, 0, 7), ok(2, 0, -1)])), None);
    }
}
