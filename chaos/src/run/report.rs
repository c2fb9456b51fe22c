//! What a run found, as text or JSON.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{FaultMeasure, Percentiles, measure};
use crate::checkers::{Expectation, Finding, check};
use crate::history::{History, Outcome};

/// Names the consumer that reads everything back at the end.
pub(super) const READER: &str = "reader";

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What repeats it.
    pub repeat: String,
    /// What its random choices were drawn from.
    pub seed: u64,
    /// From the first process started to all nodes ready, ms; none if the run did not start them.
    pub start_ms: Option<f64>,
    /// Sends.
    pub sent: usize,
    /// Sends acknowledged.
    pub acknowledged: usize,
    /// Sends refused.
    pub refused: usize,
    /// Sends whose outcome is unknown.
    pub unknown: usize,
    /// How often the group's member was given partitions; none without a group.
    pub rebalances: Option<u64>,
    /// Records read at the end.
    pub read: usize,
    /// Latency of acknowledged sends.
    pub latency_ms: Percentiles,
    /// The faults.
    pub faults: Vec<FaultMeasure>,
    /// From the start of killed processes to all nodes ready, ms, by fault.
    pub ready_ms: Vec<f64>,
    /// From the end of the load to equally long replicas, ms; none if they never were.
    pub catch_up_ms: Option<f64>,
    /// Replicas whose committed records `jackdaw log verify` found equal.
    pub replicas_compared: usize,
    /// Broken invariants.
    pub findings: Vec<Finding>,
    /// Bars that were missed, a sentence each.
    pub missed: Vec<String>,
    /// Whether all is well.
    pub passed: bool,
    /// The run's folder, if it was kept.
    pub folder: Option<PathBuf>,
}

impl Report {
    /// What a history shows by itself. `steady`: every partition was written to all the time.
    #[must_use]
    pub fn of(history: &History, steady: bool, expected: Expectation) -> Self {
        let outcomes = || history.sends.iter().map(|send| &send.outcome);
        let findings = check(history, expected);
        Self {
            repeat: history.command.clone(),
            seed: history.seed,
            start_ms: None,
            sent: history.sends.len(),
            acknowledged: outcomes().filter(|one| matches!(one, Outcome::Ok { .. })).count(),
            refused: outcomes().filter(|one| matches!(one, Outcome::Fail { .. })).count(),
            unknown: outcomes().filter(|one| matches!(one, Outcome::Info { .. })).count(),
            rebalances: None,
            read: history.polls.iter().filter(|poll| poll.consumer == READER).count(),
            latency_ms: measure::latency(history),
            faults: measure::faults(history, steady),
            ready_ms: Vec::new(),
            catch_up_ms: None,
            replicas_compared: history.replicas.len(),
            passed: findings.is_empty(),
            findings,
            missed: Vec::new(),
            folder: None,
        }
    }

    /// Holds every write gap against the bar.
    pub(super) fn write_gap_bar(&mut self, bar_ms: f64) {
        for fault in self.faults.clone() {
            let gap_ms = fault.write_gap_ms.unwrap_or_default();
            self.bar(&format!("write gap of {}", fault.fault), gap_ms, bar_ms);
        }
    }

    /// Holds the write gaps of all faults together against bars of their median, of 99 in 100, and of the
    /// largest.
    pub(super) fn write_gaps_bar(&mut self, [p50_ms, p99_ms, max_ms]: [f64; 3]) {
        let Percentiles { p50, p99, max } = self.write_gaps();
        self.bar("median of the write gaps", p50, p50_ms);
        self.bar("write gap of 99 in 100 faults", p99, p99_ms);
        self.bar("largest write gap", max, max_ms);
    }

    /// Holds the write gaps of 99 in 100 faults against the bar.
    pub(super) fn write_gap_p99_bar(&mut self, bar_ms: f64) {
        self.bar("write gap of 99 in 100 faults", self.write_gaps().p99, bar_ms);
    }

    /// Holds the longest wait for an acknowledgement against the bar.
    pub(super) fn wait_bar(&mut self, bar_ms: f64) {
        self.bar("longest wait for an acknowledgement", self.waits().max, bar_ms);
    }

    fn write_gaps(&self) -> Percentiles {
        Percentiles::of(self.faults.iter().filter_map(|fault| fault.write_gap_ms).collect())
    }

    fn waits(&self) -> Percentiles {
        Percentiles::of(self.faults.iter().map(|fault| fault.wait_ms).collect())
    }

    fn is_steady(&self) -> bool {
        self.faults.iter().any(|fault| fault.write_gap_ms.is_some())
    }

    /// Holds sends that did not end well against none.
    pub(super) fn no_error_bar(&mut self) {
        let failed = self.refused + self.unknown;
        if failed > 0 {
            self.missed.push(format!("{failed} sends ended in an error that the client showed"));
        }
    }

    /// Holds rebalances of the group against the one of its beginning.
    pub(super) fn no_rebalance_bar(&mut self) {
        if let Some(count) = self.rebalances.filter(|count| *count > 1) {
            self.missed.push(format!("the group's member was given partitions {count} times"));
        }
    }

    /// Holds every return of killed nodes against the bar.
    pub(super) fn ready_bar(&mut self, bar_ms: f64) {
        for ready_ms in self.ready_ms.clone() {
            self.bar("ready again", ready_ms, bar_ms);
        }
    }

    /// Adds a sentence if `measured_ms` is not under the bar.
    pub(super) fn bar(&mut self, what: &str, measured_ms: f64, bar_ms: f64) {
        if measured_ms >= bar_ms {
            self.missed.push(format!("{what}: {measured_ms:.0} ms, the bar is {bar_ms:.0} ms"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed            {}", self.seed)?;
        if let Some(ms) = self.start_ms {
            writeln!(f, "first start     {ms:.0} ms to all nodes ready")?;
        }
        writeln!(
            f,
            "sends           {}: {} acknowledged, {} refused, {} unknown",
            self.sent, self.acknowledged, self.refused, self.unknown
        )?;
        writeln!(f, "latency         {}", self.latency_ms)?;
        for (at, fault) in self.faults.iter().enumerate() {
            write!(
                f,
                "{:<18} node(s) {:?} for {:.0} ms: {}, {} acknowledged meanwhile",
                fault.fault,
                fault.nodes,
                fault.duration_ms,
                fault.slowest(),
                fault.acknowledged,
            )?;
            match self.ready_ms.get(at) {
                Some(ms) => writeln!(f, ", ready {ms:.0} ms after the heal began")?,
                None => writeln!(f)?,
            }
        }
        if self.faults.len() > 2 && self.is_steady() {
            writeln!(f, "write gaps      {}", self.write_gaps())?;
        } else if self.faults.len() > 2 {
            writeln!(f, "longest waits   {}", self.waits())?;
        }
        if let Some(count) = self.rebalances {
            writeln!(f, "group           given partitions {count} time(s)")?;
        }
        writeln!(f, "read back       {} records", self.read)?;
        if self.replicas_compared > 0 {
            writeln!(f, "replicas        {} compared", self.replicas_compared)?;
        }
        if let Some(ms) = self.catch_up_ms {
            writeln!(f, "                caught up {ms:.0} ms after the last write")?;
        }
        for finding in &self.findings {
            writeln!(f, "FOUND           {finding}")?;
        }
        for missed in &self.missed {
            writeln!(f, "MISSED          {missed}")?;
        }
        if self.passed {
            return write!(f, "passed          every acknowledged record is there once, in order");
        }
        writeln!(f, "FAILED          repeat with: {}", self.repeat)?;
        match &self.folder {
            Some(folder) => write!(f, "                kept: {}", folder.display()),
            None => Ok(()),
        }
    }
}
