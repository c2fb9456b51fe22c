//! Nobody answers as a partition's leader once a later leader has answered, and an epoch has one leader.

use std::collections::HashMap;

use super::Finding;
use super::index::answers;
use crate::history::{Answer, History};

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut cases: Vec<String> = answers(history)
        .into_values()
        .flat_map(|answers| {
            let mut cases = late(&answers);
            cases.extend(doubled(&answers));
            cases
        })
        .collect();
    cases.sort();
    Finding::broken("two_leaders", cases)
}

/// Answers that were asked for when one of a later epoch had come.
fn late(answers: &[&Answer]) -> Vec<String> {
    let mut known: Vec<&Answer> = answers.to_vec();
    known.sort_unstable_by_key(|answer| answer.first_us);
    let mut asked = answers.to_vec();
    asked.sort_unstable_by_key(|answer| answer.last_us);
    let (mut known, mut latest) = (known.into_iter().peekable(), None::<&Answer>);
    let mut cases = Vec::new();
    for answer in asked {
        while let Some(next) = known.next_if(|next| next.first_us < answer.last_us) {
            if latest.is_none_or(|latest| latest.epoch < next.epoch) {
                latest = Some(next);
            }
        }
        if let Some(later) = latest.filter(|later| later.epoch > answer.epoch) {
            cases.push(format!(
                "partition {}: node {} answered in epoch {} when it was asked at {} µs, but node {} had \
                 answered in epoch {} at {} µs",
                answer.partition,
                answer.node,
                answer.epoch,
                answer.last_us,
                later.node,
                later.epoch,
                later.first_us
            ));
        }
    }
    cases
}

/// Epochs in which two nodes answered.
fn doubled(answers: &[&Answer]) -> Vec<String> {
    let mut leaders = HashMap::<i32, i32>::new();
    let other =
        |answer: &&&Answer| *leaders.entry(answer.epoch).or_insert(answer.node) != answer.node;
    let found: Vec<&&Answer> = answers.iter().filter(other).collect();
    found
        .into_iter()
        .map(|answer| {
            let (partition, epoch) = (answer.partition, answer.epoch);
            format!(
                "partition {partition}: nodes {} and {} both answered in epoch {epoch}",
                leaders[&epoch], answer.node
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{answer, history};
    use super::*;

    #[test]
    fn a_leader_of_the_past_that_answers_is_found() {
        let old = answer(1, 3, 0, (100, 500));
        let finding = check(&history([old.clone(), answer(2, 4, 0, (400, 900))])).unwrap();
        assert_eq!(
            finding.examples,
            [
                "partition 0: node 1 answered in epoch 3 when it was asked at 500 µs, but node 2 had \
              answered in epoch 4 at 400 µs"
            ]
        );
        let after = history([old, answer(2, 4, 0, (501, 900))]);
        assert_eq!(check(&after), None, "the old one was asked before the new one had answered");
    }

    #[test]
    fn the_latest_epoch_counts_not_the_latest_answer() {
        let events =
            [answer(2, 5, 0, (100, 200)), answer(3, 4, 0, (150, 120)), answer(1, 4, 0, (260, 250))];
        let finding = check(&history(events)).unwrap();
        assert_eq!(finding.count, 3, "two late answers, and two nodes in one epoch: {finding}");
        assert!(finding.examples.iter().any(|case| case.contains("both answered in epoch 4")));
    }
}
