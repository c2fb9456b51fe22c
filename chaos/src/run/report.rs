//! What a run found, as text or JSON.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{FaultMeasure, Latency};
use crate::checkers::Finding;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What repeats it.
    pub repeat: String,
    /// What its random choices were drawn from.
    pub seed: u64,
    /// From the first process started to all nodes ready, ms.
    pub start_ms: f64,
    /// Sends.
    pub sent: usize,
    /// Sends acknowledged.
    pub acknowledged: usize,
    /// Sends refused.
    pub refused: usize,
    /// Sends whose outcome is unknown.
    pub unknown: usize,
    /// Records read at the end.
    pub read: u64,
    /// Latency of acknowledged sends.
    pub latency: Latency,
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
    /// Holds every write gap against the bar.
    pub(super) fn write_gap_bar(&mut self, bar_ms: f64) {
        for fault in self.faults.clone() {
            self.bar(&format!("write gap of {}", fault.fault), fault.write_gap_ms, bar_ms);
        }
    }

    /// Holds every return of killed nodes against the bar.
    pub(super) fn ready_bar(&mut self, bar_ms: f64) {
        for ready_ms in self.ready_ms.clone() {
            self.bar("ready again", ready_ms, bar_ms);
        }
    }

    /// Adds a sentence if `measured_ms` is not under the bar.
    fn bar(&mut self, what: &str, measured_ms: f64, bar_ms: f64) {
        if measured_ms >= bar_ms {
            self.missed.push(format!("{what}: {measured_ms:.0} ms, the bar is {bar_ms:.0} ms"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed            {}", self.seed)?;
        writeln!(f, "first start     {:.0} ms to all nodes ready", self.start_ms)?;
        writeln!(
            f,
            "sends           {}: {} acknowledged, {} refused, {} unknown",
            self.sent, self.acknowledged, self.refused, self.unknown
        )?;
        let Latency { p50_ms, p99_ms, max_ms } = self.latency;
        writeln!(f, "latency         p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, max {max_ms:.0} ms")?;
        for (fault, ready_ms) in self.faults.iter().zip(&self.ready_ms) {
            writeln!(
                f,
                "{:<15} node(s) {:?} for {:.0} ms: write gap {:.0} ms (partition {}), {} \
                 acknowledged meanwhile, ready {ready_ms:.0} ms after the heal began",
                fault.fault,
                fault.nodes,
                fault.duration_ms,
                fault.write_gap_ms,
                fault.gap_partition.unwrap_or(-1),
                fault.acknowledged,
            )?;
        }
        writeln!(f, "read back       {} records", self.read)?;
        write!(f, "replicas        {} of equal hashes", self.replicas_compared)?;
        match self.catch_up_ms {
            Some(ms) => writeln!(f, ", caught up {ms:.0} ms after the last write")?,
            None => writeln!(f)?,
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
