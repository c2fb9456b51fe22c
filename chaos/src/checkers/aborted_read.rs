//! What is read was sent, and was not refused.

use super::{Finding, Index};
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, index: &Index<'_>) -> Option<Finding> {
    let mut cases = Vec::new();
    for poll in &history.polls {
        let place = format!("{}@{}", poll.partition, poll.offset);
        match index.sends.get(poll.value.as_str()).map(|send| &send.outcome) {
            Some(Outcome::Ok { .. } | Outcome::Info { .. }) => {}
            Some(Outcome::Fail { error }) => {
                cases.push(format!("{} at {place} had been refused: {error}", poll.value));
            }
            // Every send that was begun has an outcome at the end of a whole history.
            None if history.torn => {}
            None => cases.push(format!("{} at {place} was never sent", poll.value)),
        }
    }
    Finding::broken("aborted_read", cases)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, poll, send};
    use super::*;

    #[test]
    fn a_refused_record_must_not_be_there() {
        let refused = Outcome::Fail { error: "too large".into() };
        let history = history([send(0, refused), poll(0, 0, 0)]);
        let finding = check(&history, &Index::of(&history)).unwrap();
        assert_eq!(finding.examples, ["r-p-0 at 0@0 had been refused: too large"]);
    }

    #[test]
    fn a_record_that_nobody_sent_must_not_be_there() {
        let mut history = history([poll(0, 0, 9)]);
        let finding = check(&history, &Index::of(&history)).unwrap();
        assert_eq!(finding.examples, ["r-p-9 at 0@0 was never sent"]);
        history.torn = true;
        assert_eq!(check(&history, &Index::of(&history)), None);
    }
}
