//! Times of single records, and their percentiles.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Bytes of a record's value that say when it was due.
pub(crate) const STAMP_BYTES: usize = 8;

/// The clock of one run: records carry microseconds since it began.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Writes `due` into a value of at least [`STAMP_BYTES`].
    pub(crate) fn stamp(value: &mut [u8], due: Duration) {
        value[..STAMP_BYTES].copy_from_slice(&micros(due).to_le_bytes());
    }

    /// When a record was due, and how long ago that is; `None` for a value without a stamp.
    pub(crate) fn read(self, value: Option<&[u8]>) -> Option<(Duration, Duration)> {
        let stamp = value?.first_chunk::<STAMP_BYTES>()?;
        let due = Duration::from_micros(u64::from_le_bytes(*stamp));
        Some((due, self.elapsed().saturating_sub(due)))
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

/// Every time that was seen.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u64>);

/// Milliseconds.
#[derive(Serialize)]
pub(crate) struct Percentiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(micros(took));
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// `None` if there are none.
    pub(crate) fn percentiles(mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        // The nearest rank, in thousandths.
        let at = |thousandths: usize| {
            self.0[(self.0.len() * thousandths / 1000).min(last)] as f64 / 1000.0
        };
        Some(Percentiles { p50: at(500), p99: at(990), p999: at(999), max: at(1000) })
    }
}
