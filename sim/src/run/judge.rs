//! What a run proves: the history by the checkers of `jackdaw-chaos`, the replicas by their bytes.

use std::collections::BTreeMap;

use anyhow::Result;
use jackdaw::model::Offset;
use jackdaw::storage::{VerifyRange, verify_log_dir};
use jackdaw_chaos::checkers::{Expectation, check};
use jackdaw_chaos::history::{Event, History, Outcome, Replica};

use super::Machine;
use super::injector::Injector;
use crate::names::TOPIC;
use crate::setup::Setup;
use crate::workload::Ledger;

/// Fewer acknowledged records prove nothing.
const ACKNOWLEDGED_MIN: usize = 200;

/// How a run ended.
pub(crate) struct Verdict {
    /// What is wrong; empty if nothing is.
    pub(crate) findings: Vec<String>,
    /// Acknowledged records.
    pub(crate) acknowledged: usize,
    /// Records whose outcome is unknown.
    pub(crate) unknown: usize,
    /// Faults that happened.
    pub(crate) faults: u64,
    /// Answers that no workload expects.
    pub(crate) oddities: BTreeMap<String, u64>,
}

pub(super) fn judge(
    setup: &Setup,
    machines: &[Machine],
    ledger: &Ledger,
    injector: &Injector,
) -> Result<Verdict> {
    let mut findings = Vec::new();
    if !ledger.is_topic_there() {
        findings.push("the topic was never made".to_owned());
    } else if !ledger.is_all_read() {
        findings.push("not everything could be read at the end".to_owned());
    }
    let mut history = ledger.history().clone();
    if ledger.is_all_read() {
        compare(setup, machines, &mut history, &mut findings)?;
    }
    for machine in machines {
        set_aside(machine, &mut findings)?;
    }
    let expected = Expectation { acknowledged_min: ACKNOWLEDGED_MIN, acknowledged_in_fault_min: 0 };
    findings.extend(check(&history, expected).iter().map(ToString::to_string));
    let count = |is: fn(&Outcome) -> bool| history.sends.iter().filter(|s| is(&s.outcome)).count();
    Ok(Verdict {
        findings,
        acknowledged: count(|outcome| matches!(outcome, Outcome::Ok { .. })),
        unknown: count(|outcome| matches!(outcome, Outcome::Info { .. })),
        faults: injector.count(),
        oddities: ledger.oddities(),
    })
}

/// The disks here keep what was synced: a log that was taken for damaged says that something was not that should
/// have been, or that a node remembers more than was.
fn set_aside(machine: &Machine, findings: &mut Vec<String>) -> Result<()> {
    let dir = machine.volume.root().join("set-aside");
    if dir.exists() {
        for folder in std::fs::read_dir(dir)? {
            let name = folder?.file_name();
            let name = name.to_string_lossy();
            findings.push(format!("node {} took {name} for damaged", machine.node));
        }
    }
    Ok(())
}

/// Adds to `history` what each replica holds of what was read.
fn compare(
    setup: &Setup,
    machines: &[Machine],
    history: &mut History,
    findings: &mut Vec<String>,
) -> Result<()> {
    let ends: BTreeMap<i32, i64> =
        history.read_to.iter().map(|read| (read.partition, read.end)).collect();
    for (partition, end) in ends {
        let name = format!("{TOPIC}-{partition}");
        let mut found = 0;
        for machine in machines {
            let dir = machine.volume.root().join("partitions").join(&name);
            if !dir.exists() {
                continue;
            }
            found += 1;
            let range = VerifyRange { upto: Some(Offset(end)), ..VerifyRange::default() };
            let report = verify_log_dir(&dir, range)?;
            for problem in &report.problems {
                findings.push(format!("{name} on node {}: {}", machine.node, problem.what));
            }
            history.push(Event::Replica(Replica {
                node: machine.node,
                name: name.clone(),
                start: report.hashed.0.0,
                end: report.hashed.1.0,
                records: report.hashed_records,
                hash: format!("{:032x}", report.hash),
            }));
        }
        if found != i32::from(setup.replicas()) {
            findings.push(format!("{name} has {found} replicas"));
        }
    }
    Ok(())
}
