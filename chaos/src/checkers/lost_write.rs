//! An acknowledged record must be read at the end.

use super::{Finding, Index};
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, index: &Index<'_>) -> Option<Finding> {
    let lost = history.sends.iter().filter_map(|send| match &send.outcome {
        Outcome::Ok { partition, offset } if !index.places.contains_key(send.value.as_str()) => {
            Some(format!(
                "{} was acknowledged at {partition}@{offset} after {} µs and is nowhere",
                send.value, send.end_us
            ))
        }
        _ => None,
    });
    Finding::broken("lost_write", lost.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, poll};
    use super::*;

    #[test]
    fn an_acknowledged_record_that_is_absent_is_lost() {
        let history = history([ok(0, 0, 0), ok(1, 0, 1), poll(0, 0, 0)]);
        let finding = check(&history, &Index::of(&history)).unwrap();
        assert_eq!(finding.count, 1);
        assert!(finding.examples[0].starts_with("r-p-1 was acknowledged at 0@1"));
    }
}
