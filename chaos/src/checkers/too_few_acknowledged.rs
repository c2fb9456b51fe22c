//! A run in which hardly anything was acknowledged proves nothing.

use super::{Finding, Kind};
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, acknowledged_min: usize) -> Option<Finding> {
    let outcomes = history.sends.iter().map(|send| &send.outcome);
    let acknowledged = outcomes.filter(|outcome| matches!(outcome, Outcome::Ok { .. })).count();
    (acknowledged < acknowledged_min).then(|| Finding {
        checker: "too_few_acknowledged",
        kind: Kind::Unknown,
        count: 1,
        examples: vec![format!(
            "{acknowledged} of {} sends were acknowledged, {acknowledged_min} are needed",
            history.sends.len()
        )],
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, ok, send};
    use super::*;

    #[test]
    fn below_the_floor_a_run_is_unknown() {
        let unknown = Outcome::Info { error: "timed out".into() };
        let history = history([ok(0, 0, 0), send(1, unknown)]);
        let finding = check(&history, 2).unwrap();
        assert_eq!(finding.kind, Kind::Unknown);
        assert_eq!(finding.examples, ["1 of 2 sends were acknowledged, 2 are needed"]);
        assert_eq!(check(&history, 1), None);
    }
}
