//! Stands in for the crate of this name (0.2.3), which openraft records replication batch sizes in.
//!
//! The original builds lookup tables for sixteen bucket widths at its first use: some 26 MB and 30 to
//! 90 ms, in every process that opens a Raft group. openraft, built without its `runtime-stats`
//! feature as here, makes one histogram per group and only ever records into it; the rest of what it
//! names is compiled and never called. This crate offers that much, in 520 bytes per histogram, at the
//! resolution of powers of two. The workspace's manifest puts it in the original's place.
//!
//! **Invariant:** recording costs no allocation, and counts never wrap.

use std::fmt;
use std::marker::PhantomData;

/// One bucket per bit length of a value, and one for 0.
const BUCKETS: usize = 65;

/// Counts `u64` values by their bit length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    buckets: [u64; BUCKETS],
    _slot: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self { buckets: [0; BUCKETS], _slot: PhantomData }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = &mut self.buckets[(u64::BITS - value.leading_zeros()) as usize];
        *bucket = bucket.saturating_add(count);
    }

    /// Values counted so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |total, count| total.saturating_add(*count))
    }
}

impl<T> Histogram<T> {
    /// The largest value that the bucket of the `permille`-th of all counted values can hold.
    fn permille(&self, permille: u64) -> u64 {
        let rank = u128::from(self.total()) * u128::from(permille);
        let mut below = 0;
        for (bits, count) in (0_u32..).zip(&self.buckets) {
            below += u128::from(*count) * 1_000;
            if *count > 0 && below >= rank {
                return u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
            }
        }
        0
    }

    /// The usual percentiles, each rounded up to the end of its bucket; zeros where nothing is
    /// counted.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Percentiles of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    /// 0.1 % of the values are at most this.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// Half of the values.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "[{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}]")
    }
}

/// Named histograms, one line each.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// A chart of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a histogram under a name.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bucket() {
        let mut histogram = Histogram::<()>::new();
        for value in [0, 1, 2, 1 << 40, u64::MAX] {
            histogram.record(value);
        }
        assert_eq!(histogram.total(), 5);
        assert_eq!((histogram.buckets[0], histogram.buckets[64]), (1, 1));
    }

    #[test]
    fn percentiles_round_up_to_a_power_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        (0..90).for_each(|_| histogram.record(5));
        (0..10).for_each(|_| histogram.record(1_000));
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90, stats.p99), (100, 7, 7, 1_023));
    }
}
