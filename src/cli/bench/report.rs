//! What a run measured, as a table and as JSON.
//!
//! **Invariant:** field names end in their unit, and do not change: scripts read them.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::tally::{Latencies, Tally, Trouble};
pub(super) use crate::admin::grouped;
use crate::cli::output::Table;

/// Processor time that this process has used so far.
pub(super) fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec as u32)
}

/// Records, bytes and the time they took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
}

impl Amount {
    /// What was acknowledged after `warm_up`, `record_bytes` each.
    pub(super) fn acknowledged(tally: &Tally, record_bytes: usize, warm_up: Duration) -> Self {
        let elapsed = tally.last.saturating_sub(warm_up);
        Self { records: tally.records, bytes: tally.records * record_bytes as u64, elapsed }
    }

    fn per_s(&self, count: u64) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "elapsed_s": rounded(self.elapsed.as_secs_f64(), 6),
            "records": self.records,
            "bytes": self.bytes,
            "records_per_s": rounded(self.per_s(self.records), 1),
            "bytes_per_s": rounded(self.per_s(self.bytes), 0),
        })
    }

    /// `1000 records, 1.02 MB in 0.50 s` and the rates, as rows.
    pub(super) fn rows(&self, table: &mut Table, verb: &str) {
        let megabytes = self.bytes as f64 / 1e6;
        let seconds = self.elapsed.as_secs_f64();
        let records = grouped(self.records);
        row(table, verb, format!("{records} records, {megabytes:.2} MB in {seconds:.2} s"));
        let rate = grouped(self.per_s(self.records).round() as u64);
        let megabytes_per_s = self.per_s(self.bytes) / 1e6;
        row(table, "throughput", format!("{rate} records/s, {megabytes_per_s:.2} MB/s"));
    }
}

/// Adds a line with a name.
pub(super) fn row(table: &mut Table, name: &str, text: String) {
    table.row([name.to_owned(), text]);
}

/// Adds the percentiles, if there are any.
pub(super) fn latency_row(table: &mut Table, name: &str, latencies: &Latencies) {
    if latencies.count() == 0 {
        return;
    }
    let shares = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    let cell = |(name, share)| format!("{name} {}", milliseconds(latencies.quantile_us(share)));
    row(table, name, shares.map(cell).join("  ") + "  ms");
}

/// Adds what went wrong, or that nothing did.
pub(super) fn trouble_rows(table: &mut Table, tally: &Tally) {
    let counts = |counts: &BTreeMap<Trouble, u64>| {
        let each = counts.iter();
        each.map(|(trouble, count)| format!("{} {}", grouped(*count), trouble.name()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if tally.left_out > 0 {
        row(table, "behind", format!("{} records were due and not sent", grouped(tally.left_out)));
    }
    if !tally.sent_again.is_empty() {
        row(table, "sent again", format!("{} (batches)", counts(&tally.sent_again)));
    }
    if tally.uncertain > 0 {
        let records = grouped(tally.uncertain);
        row(table, "uncertain", format!("{records} records had no answer: stored or not"));
    }
    let failed = if tally.failed.is_empty() {
        "none".to_owned()
    } else {
        format!("{} (records)", counts(&tally.failed))
    };
    row(table, "failed", failed);
}

/// The same as [`trouble_rows`], and how much was sent.
pub(super) fn trouble_json(tally: &Tally) -> Value {
    let counts = |counts: &BTreeMap<Trouble, u64>| {
        let each = counts.iter().map(|(trouble, count)| (trouble.name().to_owned(), json!(count)));
        Value::Object(each.collect())
    };
    json!({
        "records_failed": tally.failed.values().sum::<u64>(),
        "records_failed_by_error": counts(&tally.failed),
        "records_uncertain": tally.uncertain,
        "records_left_out": tally.left_out,
        "batches_sent_again_by_error": counts(&tally.sent_again),
    })
}

/// One object with the fields of both.
pub(super) fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut first, second) {
        fields.extend(more);
    }
    first
}

/// µs as ms with three digits or more.
pub(super) fn milliseconds(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    match us {
        0..1_000 => format!("{ms:.3}"),
        1_000..100_000 => format!("{ms:.2}"),
        _ => format!("{ms:.0}"),
    }
}

/// `value` with so many digits after the point: JSON readers need no noise.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let shown = [12, 999, 1_234, 99_999, 123_456].map(milliseconds);
        assert_eq!(shown, ["0.012", "0.999", "1.23", "100.00", "123"]);
        assert_eq!((rounded(1.23456, 2), rounded(1234.5, 0)), (1.23, 1235.0));
        assert!(processor_time() > Duration::ZERO);
    }

    #[test]
    fn rates_are_per_measured_second_and_nothing_is_no_division() {
        let (records, bytes) = (500, 512_000);
        let told = Amount { records, bytes, elapsed: Duration::from_millis(250) }.json();
        assert_eq!(
            (&told["records_per_s"], &told["bytes_per_s"]),
            (&json!(2000.0), &json!(2_048_000.0))
        );
        let nothing = Amount { records: 0, bytes: 0, elapsed: Duration::ZERO }.json();
        assert_eq!(nothing["records_per_s"], 0.0);
    }

    #[test]
    fn what_failed_is_told_by_its_name() {
        let mut tally = Tally::default();
        tally.failed.insert(Trouble::Refused("INVALID_RECORD".to_owned()), 1500);
        tally.send_again(Trouble::NoAnswer);
        tally.uncertain = 2;
        let mut table = Table::default();
        trouble_rows(&mut table, &tally);
        let text = table.render();
        for part in ["1,500 INVALID_RECORD (records)", "1 NO_ANSWER (batches)", "2 records had no"]
        {
            assert!(text.contains(part), "{text}");
        }
        let told = trouble_json(&tally);
        assert_eq!(told["records_failed"], 1500);
        assert_eq!(told["records_failed_by_error"]["INVALID_RECORD"], 1500);
        assert_eq!(told["batches_sent_again_by_error"]["NO_ANSWER"], 1);
    }
}
