//! A leader's high watermark is not below what was acknowledged, or answered by any leader, before it was
//! asked.

use super::Finding;
use super::index::answers;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut cases = Vec::new();
    for (partition, mut asked) in answers(history) {
        asked.sort_unstable_by_key(|answer| answer.last_us);
        let (mut known, mut end) = (known(history, partition).into_iter().peekable(), 0);
        for answer in asked {
            while let Some((_, next)) = known.next_if(|(at_us, _)| *at_us < answer.last_us) {
                end = end.max(next);
            }
            if answer.high_watermark < end {
                cases.push(format!(
                    "partition {partition}: node {} answered {} in epoch {} when it was asked at {} µs, \
                     but {end} was known before",
                    answer.node, answer.high_watermark, answer.epoch, answer.last_us
                ));
            }
        }
    }
    cases.sort();
    Finding::broken("stale_answer", cases)
}

/// Since when a high watermark was known to be reached: (µs, offset), by time.
fn known(history: &History, partition: i32) -> Vec<(u64, i64)> {
    let answers = history.answers.iter().filter(|answer| answer.partition == partition);
    let answered = answers.map(|answer| (answer.first_us, answer.high_watermark));
    let acknowledged = history.sends.iter().filter_map(|send| match send.outcome {
        Outcome::Ok { partition: at, offset } if at == partition => Some((send.end_us, offset + 1)),
        _ => None,
    });
    let mut known: Vec<(u64, i64)> = answered.chain(acknowledged).collect();
    known.sort_unstable();
    known
}

#[cfg(test)]
mod tests {
    use super::super::sample::{answer, history, ok};
    use super::*;

    #[test]
    fn an_answer_without_an_acknowledged_record_is_stale() {
        // Acknowledged at 150 µs.
        let acknowledged = ok(1, 0, 6);
        let stale = history([acknowledged.clone(), answer(1, 3, 6, (100, 151))]);
        assert_eq!(
            check(&stale).unwrap().examples,
            [
                "partition 0: node 1 answered 6 in epoch 3 when it was asked at 151 µs, but 7 was known \
              before"
            ]
        );
        let fine = [answer(1, 3, 6, (100, 149)), answer(1, 3, 7, (160, 151))];
        assert_eq!(check(&history([acknowledged].into_iter().chain(fine))), None);
    }

    #[test]
    fn a_high_watermark_that_goes_back_is_stale() {
        let finding = check(&history([answer(1, 3, 9, (100, 100)), answer(2, 4, 8, (300, 200))]));
        assert!(finding.unwrap().examples[0].contains("node 2 answered 8 in epoch 4"));
    }
}
