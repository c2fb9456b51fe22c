//! What became of the records of a run: latencies, failures, and what had to be sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::lane::Batch;

/// Longest latency told apart, µs: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Latencies in µs, to three digits, in fixed memory.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds"))
    }
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration, count: u64) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        // Saturating, so that no value is out of bounds.
        self.0.saturating_record_n(us, count);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that `share` of the latencies do not exceed, µs.
    pub(super) fn quantile_us(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// Percentiles, mean and maximum, µs; nothing where nothing was measured.
    pub(super) fn json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        json!({
            "count": self.0.len(),
            "mean": self.0.mean().round(),
            "min": self.0.min(),
            "p50": self.quantile_us(0.5),
            "p90": self.quantile_us(0.9),
            "p99": self.quantile_us(0.99),
            "p99_9": self.quantile_us(0.999),
            "max": self.0.max(),
        })
    }
}

/// Why records were not acknowledged, or not at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// A broker refused, with Kafka's error.
    Refused(String),
    /// The connection broke or stayed silent.
    NoAnswer,
    /// It could not be sent in time.
    NotSent,
}

impl Trouble {
    /// Kafka's name of the error, or one of the same kind.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Refused(name) => name,
            Self::NoAnswer => "NO_ANSWER",
            Self::NotSent => "NOT_SENT",
        }
    }
}

/// Counts of a run, by record but where they say otherwise.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// From when each record was due to its acknowledgement; the warm-up is left out.
    pub(super) latencies: Latencies,
    /// Acknowledged, the warm-up left out.
    pub(super) records: u64,
    /// Acknowledged in the warm-up.
    pub(super) warm_up_records: u64,
    /// Bytes of records and headers as sent, acknowledged, the warm-up left out.
    pub(super) wire_bytes: u64,
    /// Batches acknowledged, the warm-up left out.
    pub(super) batches: u64,
    /// Requests sent, all in all.
    pub(super) requests: u64,
    /// When the last acknowledgement came.
    pub(super) last: Duration,
    /// Refused for good or never sent: not in the log.
    pub(super) failed: BTreeMap<Trouble, u64>,
    /// Sent without an answer until the time was over: in the log or not.
    pub(super) uncertain: u64,
    /// Due before the time was up, but there was no room to send them.
    pub(super) left_out: u64,
    /// Batches that were sent again, by reason.
    pub(super) sent_again: BTreeMap<Trouble, u64>,
}

impl Tally {
    pub(super) fn acknowledge(&mut self, batch: &Batch, now: Duration) {
        if !batch.is_measured {
            self.warm_up_records += u64::from(batch.count);
            return;
        }
        self.records += u64::from(batch.count);
        self.batches += 1;
        if let Some(sealed) = &batch.sealed {
            self.wire_bytes += (sealed.header.len() + sealed.records.len()) as u64;
        }
        self.last = self.last.max(now);
        if batch.spacing_ns == 0.0 {
            self.latencies.record(now.saturating_sub(batch.due), batch.count.into());
            return;
        }
        for index in 0..batch.count {
            self.latencies.record(now.saturating_sub(batch.due_of(index)), 1);
        }
    }

    pub(super) fn fail(&mut self, batch: &Batch, trouble: Trouble) {
        let count = u64::from(batch.count);
        if batch.is_unanswered && !matches!(trouble, Trouble::Refused(_)) {
            self.uncertain += count;
        } else {
            *self.failed.entry(trouble).or_default() += count;
        }
    }

    pub(super) fn send_again(&mut self, trouble: Trouble) {
        *self.sent_again.entry(trouble).or_default() += 1;
    }

    /// Records that are not known to be in the log.
    pub(super) fn lost(&self) -> u64 {
        self.failed.values().sum::<u64>() + self.uncertain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_counts_from_when_it_was_due() {
        let mut tally = Tally::default();
        // Due at 0, 1, 2 … 9 ms, acknowledged at 10.
        let batch = Batch::new(0, 10, Duration::ZERO, 1e6);
        tally.acknowledge(&batch, Duration::from_millis(10));
        assert_eq!(tally.records, 10);
        let told = tally.latencies.json();
        assert_eq!(told["count"], 10);
        assert_eq!(told["min"], 1_000);
        let near =
            |share: f64, us: u64| tally.latencies.quantile_us(share).abs_diff(us) <= us / 500;
        assert!(near(0.5, 5_000) && near(0.9, 9_000) && near(1.0, 10_000), "{told}");
    }

    #[test]
    fn the_warm_up_counts_apart_and_hours_saturate() {
        let mut tally = Tally::default();
        let mut batch = Batch::new(0, 3, Duration::ZERO, 0.0);
        batch.is_measured = false;
        tally.acknowledge(&batch, Duration::from_millis(1));
        assert_eq!((tally.records, tally.warm_up_records), (0, 3));
        assert_eq!(tally.latencies.json(), Value::Null);
        batch.is_measured = true;
        tally.acknowledge(&batch, Duration::from_secs(100_000));
        assert!(tally.latencies.quantile_us(1.0) >= LATENCY_US_MAX);
    }

    #[test]
    fn without_an_answer_nobody_knows_and_a_refusal_is_certain() {
        let mut tally = Tally::default();
        let mut batch = Batch::new(0, 2, Duration::ZERO, 0.0);
        tally.fail(&batch, Trouble::NotSent);
        batch.is_unanswered = true;
        tally.fail(&batch, Trouble::NotSent);
        tally.fail(&batch, Trouble::Refused("INVALID_RECORD".into()));
        assert_eq!((tally.uncertain, tally.failed.len(), tally.lost()), (2, 2, 6));
    }
}
