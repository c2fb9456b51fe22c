//! Writes go on within the promised time once a majority of the nodes can work together.
//!
//! A partition stands still for a producer while a send of it is open and none is acknowledged. What counts
//! begins with the fault if a majority survives it, otherwise with its heal, and ends with the next fault.

use std::collections::BTreeMap;

use super::Finding;
use crate::history::{History, Outcome, Send, Span};

pub(super) fn check(history: &History) -> Option<Finding> {
    let stops = stops(history);
    let mut cases = Vec::new();
    for (at, span) in history.faults.iter().enumerate() {
        let Some(max_us) = span.write_gap_max_us else { continue };
        let Some(from) = since(span) else { continue };
        let until = history.faults.get(at + 1).map_or(u64::MAX, |next| next.begin_us);
        let long = stops.iter().filter_map(|stop| {
            let lasted = stop.end_us.min(until).saturating_sub(stop.begin_us.max(from));
            (lasted > max_us).then(|| {
                format!(
                    "{}: partition {} took nothing of {} for {} ms, {} ms were promised",
                    span.fault,
                    stop.partition,
                    stop.producer,
                    lasted / 1000,
                    max_us / 1000
                )
            })
        });
        cases.extend(long);
    }
    Finding::broken("liveness", cases)
}

/// From when a majority works; none if it never did.
fn since(span: &Span) -> Option<u64> {
    if span.majority { Some(span.begin_us) } else { span.end_us }
}

/// A time in which a send was open and none was acknowledged.
struct Stop<'a> {
    producer: &'a str,
    partition: i32,
    begin_us: u64,
    end_us: u64,
}

fn stops(history: &History) -> Vec<Stop<'_>> {
    let mut sends = BTreeMap::<(&str, i32), Vec<&Send>>::new();
    for send in &history.sends {
        let partition = match send.outcome {
            Outcome::Ok { partition, .. } => Some(partition),
            Outcome::Fail { .. } | Outcome::Info { .. } => send.partition,
        };
        if let Some(partition) = partition {
            sends.entry((&send.producer, partition)).or_default().push(send);
        }
    }
    sends.into_iter().flat_map(|(of, sends)| stops_of(of, sends)).collect()
}

fn stops_of<'a>((producer, partition): (&'a str, i32), mut sends: Vec<&'a Send>) -> Vec<Stop<'a>> {
    sends.sort_unstable_by_key(|send| send.end_us);
    // For each send, when the earliest began of those that were open until it ended.
    let mut open_since: Vec<u64> = sends.iter().map(|send| send.begin_us).collect();
    for at in (1..open_since.len()).rev() {
        open_since[at - 1] = open_since[at - 1].min(open_since[at]);
    }
    let mut stops = Vec::new();
    let mut acknowledged = 0;
    for (at, send) in sends.iter().enumerate() {
        let ok = matches!(send.outcome, Outcome::Ok { .. });
        if ok || at + 1 == sends.len() {
            let begin_us = open_since[at].max(acknowledged);
            stops.push(Stop { producer, partition, begin_us, end_us: send.end_us });
        }
        if ok {
            acknowledged = send.end_us;
        }
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::super::sample::{fault, history, timed};
    use super::*;

    fn checked(majority: bool, times: &[(u64, u64)]) -> Option<Finding> {
        let ok = || Outcome::Ok { partition: 0, offset: -1 };
        let sends = times.iter().enumerate().map(|(n, times)| timed(n as u64, *times, ok()));
        check(&history(sends.chain(fault(majority, 10_000, 20_000))))
    }

    #[test]
    fn a_send_that_waits_too_long_is_found() {
        let finding = checked(true, &[(9_000, 9_100), (10_500, 11_600)]).unwrap();
        assert_eq!(
            finding.examples,
            ["f: partition 0 took nothing of p for 1 ms, 1 ms were promised"]
        );
        assert_eq!(checked(true, &[(9_000, 9_100), (10_600, 11_500)]), None);
    }

    #[test]
    fn idle_time_is_no_standstill() {
        assert_eq!(checked(true, &[(9_000, 9_100), (19_000, 19_100)]), None);
    }

    #[test]
    fn others_that_are_acknowledged_meanwhile_show_that_it_goes_on() {
        let one_waits = [(10_000, 12_000), (10_100, 10_800), (10_900, 11_500)];
        assert_eq!(checked(true, &one_waits), None);
    }

    #[test]
    fn without_a_majority_the_time_begins_with_the_heal() {
        assert_eq!(checked(false, &[(10_500, 20_900)]), None);
        assert_eq!(checked(false, &[(10_500, 21_100)]).unwrap().count, 1);
    }

    #[test]
    fn what_is_never_acknowledged_stands_still_to_its_end() {
        let unknown = Outcome::Info { error: "timed out".into() };
        let events = [timed(0, (10_000, 15_000), unknown)];
        let finding = check(&history(events.into_iter().chain(fault(true, 9_000, 20_000))));
        assert_eq!(finding.unwrap().count, 1);
    }
}
