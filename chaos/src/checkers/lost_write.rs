//! An acknowledged record must be read at the end.
//!
//! Who had read it before is of no help: only those count who read up to a high watermark, if there are any.

use std::collections::HashSet;

use super::Finding;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Option<Finding> {
    let last: HashSet<&str> = history.read_to.iter().map(|read| read.consumer.as_str()).collect();
    let polls = history.polls.iter();
    let polls = polls.filter(|poll| last.is_empty() || last.contains(poll.consumer.as_str()));
    let there: HashSet<&str> = polls.map(|poll| poll.value.as_str()).collect();
    let lost = history.sends.iter().filter_map(|send| match &send.outcome {
        Outcome::Ok { partition, offset } if !there.contains(send.value.as_str()) => Some(format!(
            "{} was acknowledged at {partition}@{offset} after {} µs and is nowhere",
            send.value, send.end_us
        )),
        _ => None,
    });
    Finding::broken("lost_write", lost.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, poll};
    use super::*;
    use crate::history::{Event, ReadTo};

    #[test]
    fn an_acknowledged_record_that_is_absent_is_lost() {
        let history = history([ok(0, 0, 0), ok(1, 0, 1), poll(0, 0, 0)]);
        let finding = check(&history).unwrap();
        assert_eq!(finding.count, 1);
        assert!(finding.examples[0].starts_with("r-p-1 was acknowledged at 0@1"));
    }

    #[test]
    fn what_was_read_before_and_is_gone_at_the_end_is_lost() {
        let read_to = |consumer: &str| {
            let consumer = consumer.to_owned();
            Event::ReadTo(ReadTo { consumer, partition: 0, end: 1, asked_us: 0 })
        };
        let events = [ok(0, 0, 0), poll(0, 0, 0)];
        let read_by = |consumer| history(events.clone().into_iter().chain([read_to(consumer)]));
        assert_eq!(check(&read_by("c")), None);
        assert_eq!(check(&read_by("another")).unwrap().count, 1);
    }
}
