//! Figures taken from a history: latencies, and how long writes stood still around each fault.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::history::{History, Outcome, Span};

/// How some times are spread, by nearest rank, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are not longer.
    pub p50: f64,
    /// 99 of 100 are not longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    pub(super) fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = ((ms.len() as f64 * share).ceil() as usize).clamp(1, ms.len().max(1));
            ms.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms", self.p50, self.p99, self.max)
    }
}

/// One fault as producers felt it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultMeasure {
    /// Its name.
    pub fault: String,
    /// The nodes hit.
    pub nodes: Vec<i32>,
    /// When it began, ms since the run did.
    pub begin_ms: f64,
    /// How long until its nodes ran again, ms.
    pub duration_ms: f64,
    /// The write gap, ms: the longest time in which one partition acknowledged nothing to idempotent
    /// producers, from the fault's beginning until the next fault's or the end; none where partitions are
    /// idle.
    pub write_gap_ms: Option<f64>,
    /// The partition with that gap.
    pub gap_partition: Option<i32>,
    /// The longest time from a send to its acknowledgement, among sends begun in the same time, ms.
    pub wait_ms: f64,
    /// Their sends acknowledged while the fault lasted.
    pub acknowledged: usize,
}

impl FaultMeasure {
    /// What it did to writes, in words.
    pub(super) fn slowest(&self) -> String {
        match (self.write_gap_ms, self.gap_partition) {
            (Some(gap_ms), Some(partition)) => {
                format!("write gap {gap_ms:.0} ms (partition {partition})")
            }
            _ => format!("longest wait for an acknowledgement {:.0} ms", self.wait_ms),
        }
    }
}

/// When sends of idempotent producers were acknowledged, by partition, µs ascending.
type Acknowledged = BTreeMap<i32, Vec<u64>>;

/// Of acknowledged sends.
pub(super) fn latency(history: &History) -> Percentiles {
    let sends = history.sends.iter();
    let acknowledged = sends.filter(|send| matches!(send.outcome, Outcome::Ok { .. }));
    let ms = acknowledged.map(|send| (send.end_us - send.begin_us) as f64 / 1000.0);
    Percentiles::of(ms.collect())
}

/// `steady`: every partition was written to all the time.
pub(super) fn faults(history: &History, steady: bool) -> Vec<FaultMeasure> {
    let acknowledged = acknowledged(history);
    let last = acknowledged.values().filter_map(|times| times.last()).max().copied().unwrap_or(0);
    let ends = history.faults.iter().skip(1).map(|next| next.begin_us).chain([last]);
    history
        .faults
        .iter()
        .zip(ends)
        .map(|(span, until)| {
            let (gap, partition) =
                longest_gap(span, until, &acknowledged).filter(|_| steady).unzip();
            FaultMeasure {
                fault: span.fault.clone(),
                nodes: span.nodes.clone(),
                begin_ms: ms(span.begin_us),
                duration_ms: ms(span.end_us.unwrap_or(until) - span.begin_us),
                write_gap_ms: gap.map(ms),
                gap_partition: partition,
                wait_ms: ms(wait(history, span.begin_us, until)),
                acknowledged: acknowledged_in(span, until, &acknowledged),
            }
        })
        .collect()
}

fn acknowledged(history: &History) -> Acknowledged {
    let mut times = Acknowledged::new();
    for send in history.sends.iter().filter(|send| history.is_idempotent(&send.producer)) {
        if let Outcome::Ok { partition, .. } = send.outcome {
            times.entry(partition).or_default().push(send.end_us);
        }
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The longest gap of a partition, µs, and the partition.
fn longest_gap(span: &Span, until: u64, acknowledged: &Acknowledged) -> Option<(u64, i32)> {
    let gaps = acknowledged.iter();
    gaps.map(|(partition, times)| (gap(times, span.begin_us, until), *partition)).max()
}

fn acknowledged_in(span: &Span, until: u64, acknowledged: &Acknowledged) -> usize {
    let inside = span.begin_us..span.end_us.unwrap_or(until);
    acknowledged.values().flatten().filter(|at| inside.contains(at)).count()
}

/// The longest wait for an acknowledgement among sends begun in `begin..until`, µs.
fn wait(history: &History, begin: u64, until: u64) -> u64 {
    let sends = history.sends.iter();
    let sends = sends.filter(|send| matches!(send.outcome, Outcome::Ok { .. }));
    let inside = sends.filter(|send| (begin..until).contains(&send.begin_us));
    inside.map(|send| send.end_us - send.begin_us).max().unwrap_or(0)
}

/// The longest pause between two neighbours, or between the last and the end, that reaches into
/// `begin..until`, µs. What lies before `begin` counts, for it ends in the fault; what lies after
/// `until` belongs to the next one.
fn gap(times: &[u64], begin: u64, until: u64) -> u64 {
    let pauses = times.windows(2).map(|pair| (pair[0], pair[1]));
    let tail = times.last().map(|last| (*last, until.max(*last)));
    pauses
        .chain(tail)
        .filter(|(from, to)| *to > begin && *from < until)
        .map(|(from, to)| to.min(until) - from)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, Send};

    fn history(acknowledged: &[(i32, u64)], faults: &[(u64, u64)]) -> History {
        let mut history = History::default();
        history.push(Event::Producer { producer: "p".into(), idempotent: true });
        for (n, (partition, end_us)) in acknowledged.iter().enumerate() {
            history.push(Event::Send(Send {
                producer: "p".into(),
                n: n as u64,
                value: n.to_string(),
                key: String::new(),
                partition: None,
                begin_us: end_us - 1000,
                end_us: *end_us,
                outcome: Outcome::Ok { partition: *partition, offset: -1 },
            }));
        }
        for (begin, end) in faults {
            let fault = "f".to_owned();
            history.push(Event::FaultBegin {
                fault: fault.clone(),
                nodes: vec![2],
                majority: true,
                write_gap_max_us: None,
                at_us: *begin,
            });
            history.push(Event::FaultEnd { fault, at_us: *end });
        }
        history
    }

    fn steady(history: &History) -> Vec<FaultMeasure> {
        faults(history, true)
    }

    #[test]
    fn where_partitions_are_idle_the_wait_counts() {
        let mut history = history(&[(0, 9_000), (1, 50_000), (0, 90_000)], &[(20_000, 60_000)]);
        history.sends[1].begin_us = 25_000;
        let measured = faults(&history, false);
        assert_eq!((measured[0].write_gap_ms, measured[0].gap_partition), (None, None));
        assert_eq!(measured[0].wait_ms, 25.0);
    }

    #[test]
    fn the_gap_is_the_worst_partition_s() {
        let acknowledged =
            [(0, 9_000), (0, 11_000), (0, 12_000), (1, 9_500), (1, 60_000), (0, 61_000)];
        let measured = steady(&history(&acknowledged, &[(10_000, 58_000)]));
        assert_eq!(measured.len(), 1);
        assert_eq!((measured[0].write_gap_ms, measured[0].gap_partition), (Some(50.5), Some(1)));
        assert_eq!((measured[0].duration_ms, measured[0].acknowledged), (48.0, 2));
    }

    #[test]
    fn a_plain_producer_fills_no_gap() {
        let mut history = history(&[(0, 9_000), (0, 20_000), (0, 50_000)], &[(10_000, 58_000)]);
        history.sends[1].producer = "plain".into();
        assert_eq!(steady(&history)[0].write_gap_ms, Some(41.0));
        assert_eq!(steady(&history)[0].acknowledged, 1);
    }

    #[test]
    fn a_partition_that_never_resumes_has_a_gap_to_the_end() {
        let acknowledged = [(0, 9_000), (1, 9_000), (1, 90_000)];
        let measured = steady(&history(&acknowledged, &[(10_000, 20_000)]));
        assert_eq!((measured[0].write_gap_ms, measured[0].gap_partition), (Some(81.0), Some(1)));
        let acknowledged = [(0, 9_000), (1, 9_000), (1, 50_000), (1, 90_000)];
        let measured = steady(&history(&acknowledged, &[(10_000, 20_000)]));
        assert_eq!((measured[0].write_gap_ms, measured[0].gap_partition), (Some(81.0), Some(0)));
    }

    #[test]
    fn a_gap_belongs_to_the_faults_that_it_touches() {
        let acknowledged = [(0, 1_000), (0, 2_000), (0, 5_000), (0, 9_000), (0, 9_500)];
        let measured = steady(&history(&acknowledged, &[(2_500, 4_000), (5_500, 6_000)]));
        assert_eq!(measured[0].write_gap_ms, Some(3.0));
        assert_eq!(measured[1].write_gap_ms, Some(4.0));
    }

    #[test]
    fn latency_is_by_rank() {
        assert_eq!(latency(&History::default()), Percentiles::default());
        let latency = latency(&history(&[(0, 2_000), (0, 3_000)], &[]));
        assert_eq!(latency, Percentiles { p50: 1.0, p99: 1.0, max: 1.0 });
        let many = Percentiles::of((1..=100).rev().map(f64::from).collect());
        assert_eq!(many, Percentiles { p50: 50.0, p99: 99.0, max: 100.0 });
    }
}
