//! What was read stays below every high watermark that is asked for later: nobody reads what is not committed.

use std::collections::BTreeMap;

use super::Finding;
use crate::history::History;

pub(super) fn check(history: &History) -> Option<Finding> {
    let later = watermarks(history);
    let early = history.polls.iter().filter_map(|poll| {
        let known = later.get(&poll.partition)?;
        let from = known.partition_point(|(asked_us, _)| *asked_us < poll.at_us);
        let (asked_us, lowest) = known.get(from)?;
        (*lowest <= poll.offset).then(|| {
            format!(
                "{} read {}@{} at {} µs, but asked at {asked_us} µs or later it ended at {lowest}",
                poll.consumer, poll.partition, poll.offset, poll.at_us
            )
        })
    });
    Finding::broken("read_before_commit", early.collect())
}

/// By partition, when a high watermark was asked for and the lowest that was answered then or later.
fn watermarks(history: &History) -> BTreeMap<i32, Vec<(u64, i64)>> {
    let mut watermarks = BTreeMap::<i32, Vec<(u64, i64)>>::new();
    let mut add = |partition, at_us, end| {
        watermarks.entry(partition).or_default().push((at_us, end));
    };
    for answer in &history.answers {
        add(answer.partition, answer.last_us, answer.high_watermark);
    }
    for read in &history.read_to {
        add(read.partition, read.asked_us, read.end);
    }
    for known in watermarks.values_mut() {
        known.sort_unstable();
        let mut lowest = i64::MAX;
        for (_, end) in known.iter_mut().rev() {
            lowest = lowest.min(*end);
            *end = lowest;
        }
    }
    watermarks
}

#[cfg(test)]
mod tests {
    use super::super::sample::{answer, history, poll};
    use super::*;
    use crate::history::{Event, ReadTo};

    #[test]
    fn a_record_that_was_read_and_is_gone_at_the_end() {
        // Polled at 10,000 µs.
        let read_to = |end, asked_us| {
            Event::ReadTo(ReadTo { consumer: "r".into(), partition: 0, end, asked_us })
        };
        let finding = check(&history([poll(0, 6, 0), read_to(6, 10_000)])).unwrap();
        assert_eq!(
            finding.examples,
            ["c read 0@6 at 10000 µs, but asked at 10000 µs or later it ended at 6"]
        );
        assert_eq!(check(&history([poll(0, 6, 0), read_to(7, 10_000)])), None);
        assert_eq!(check(&history([poll(0, 6, 0), read_to(6, 9_999)])), None, "asked before");
    }

    #[test]
    fn a_leader_that_does_not_know_what_was_read() {
        let later = [answer(1, 3, 9, (10_500, 10_400)), answer(2, 4, 6, (10_700, 10_600))];
        assert_eq!(check(&history([poll(0, 6, 0)].into_iter().chain(later))).unwrap().count, 1);
    }
}
