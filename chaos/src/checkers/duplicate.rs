//! A record of an idempotent producer lies at one offset only.

use super::{Finding, Index};
use crate::history::History;

pub(super) fn check(history: &History, index: &Index<'_>) -> Option<Finding> {
    let twice = history.sends.iter().filter_map(|send| {
        let places = index.places.get(send.value.as_str())?;
        (places.len() > 1 && history.is_idempotent(&send.producer))
            .then(|| format!("{} is at {places:?}", send.value))
    });
    Finding::broken("duplicate", twice.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, poll};
    use super::*;

    #[test]
    fn a_record_at_two_offsets_is_a_duplicate() {
        let mut history = history([ok(0, 0, 0), poll(0, 0, 0), poll(0, 1, 0)]);
        let finding = check(&history, &Index::of(&history)).unwrap();
        assert_eq!(finding.examples, ["r-p-0 is at {(0, 0), (0, 1)}"]);
        history.idempotent.clear();
        assert_eq!(check(&history, &Index::of(&history)), None, "a plain producer may retry");
    }
}
