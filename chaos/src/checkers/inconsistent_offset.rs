//! An offset holds one value: for every reader, and for the producer that was told the offset.

use std::collections::HashMap;

use super::Finding;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut values = HashMap::<(i32, i64), (&str, &str)>::new();
    let mut cases = Vec::new();
    let polled = history
        .polls
        .iter()
        .map(|poll| ((poll.partition, poll.offset), poll.value.as_str(), poll.consumer.as_str()));
    let acknowledged = history.sends.iter().filter_map(|send| match send.outcome {
        Outcome::Ok { partition, offset } if offset >= 0 => {
            Some(((partition, offset), send.value.as_str(), "its acknowledgement"))
        }
        _ => None,
    });
    for (place, value, witness) in polled.chain(acknowledged) {
        let (known, other) = *values.entry(place).or_insert((value, witness));
        if known != value {
            cases.push(format!(
                "{}@{} is {known} for {other} and {value} for {witness}",
                place.0, place.1
            ));
        }
    }
    Finding::broken("inconsistent_offset", cases)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, poll};
    use super::*;

    #[test]
    fn two_readers_that_see_different_values_at_one_offset() {
        let finding = check(&history([poll(0, 0, 0), poll(0, 0, 1)])).unwrap();
        assert_eq!(finding.examples, ["0@0 is r-p-0 for c and r-p-1 for c"]);
    }

    #[test]
    fn an_acknowledged_offset_that_holds_another_value() {
        let finding = check(&history([ok(0, 0, 7), poll(0, 7, 1), poll(0, 8, 0)])).unwrap();
        assert_eq!(finding.examples, ["0@7 is r-p-1 for c and r-p-0 for its acknowledgement"]);
    }

    #[test]
    fn two_acknowledgements_of_one_offset() {
        assert_eq!(check(&history([ok(0, 0, 7), ok(1, 0, 7)])).unwrap().count, 1);
        assert_eq!(check(&history([ok(0, 0, -1), ok(1, 0, -1)])), None, "no offset was told");
    }
}
