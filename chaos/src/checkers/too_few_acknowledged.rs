//! A run in which hardly anything was acknowledged proves nothing, nor does a fault.

use super::{Expectation, Finding, Kind};
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, expected: Expectation) -> Option<Finding> {
    let mut ends: Vec<u64> = history
        .sends
        .iter()
        .filter(|send| matches!(send.outcome, Outcome::Ok { .. }))
        .map(|send| send.end_us)
        .collect();
    ends.sort_unstable();
    let (sent, acknowledged) = (history.sends.len(), ends.len());
    let mut examples = Vec::new();
    if acknowledged < expected.acknowledged_min {
        let min = expected.acknowledged_min;
        examples
            .push(format!("{acknowledged} of {sent} sends were acknowledged, {min} are needed"));
    }
    let min = expected.acknowledged_in_fault_min;
    for span in history.faults.iter().filter(|span| span.majority) {
        let before = |at_us: u64| ends.partition_point(|end| *end < at_us);
        let within = before(span.end_us.unwrap_or(u64::MAX)) - before(span.begin_us);
        if within < min {
            examples.push(format!(
                "{within} sends were acknowledged within {}, {min} are needed",
                span.fault
            ));
        }
    }
    let kind = Kind::Unknown;
    Finding::broken("too_few_acknowledged", examples).map(|finding| Finding { kind, ..finding })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{fault, history, ok, send};
    use super::*;

    fn needed(acknowledged_min: usize, acknowledged_in_fault_min: usize) -> Expectation {
        Expectation { acknowledged_min, acknowledged_in_fault_min }
    }

    #[test]
    fn a_fault_under_which_nothing_is_written_is_unknown() {
        // Acknowledged at 50, 150 and 250 µs.
        let sends = [ok(0, 0, 0), ok(1, 0, 1), ok(2, 0, 2)];
        let within = |majority| history(sends.clone().into_iter().chain(fault(majority, 100, 200)));
        assert_eq!(check(&within(true), needed(1, 1)), None);
        let finding = check(&within(true), needed(1, 2)).unwrap();
        assert_eq!(finding.kind, Kind::Unknown);
        assert_eq!(finding.examples, ["1 sends were acknowledged within f, 2 are needed"]);
        assert_eq!(
            check(&within(false), needed(1, 2)),
            None,
            "nobody can write without a majority"
        );
    }

    #[test]
    fn below_the_floor_a_run_is_unknown() {
        let unknown = Outcome::Info { error: "timed out".into() };
        let history = history([ok(0, 0, 0), send(1, unknown)]);
        let finding = check(&history, needed(2, 0)).unwrap();
        assert_eq!(finding.kind, Kind::Unknown);
        assert_eq!(finding.examples, ["1 of 2 sends were acknowledged, 2 are needed"]);
        assert_eq!(check(&history, needed(1, 0)), None);
    }
}
