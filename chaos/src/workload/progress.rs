//! How far a producer has come, readable while it works.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const POLL: Duration = Duration::from_millis(2);

/// Counters of one producer.
#[derive(Debug)]
pub struct Progress {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    /// By partition, one more than the time in µs at which its newest acknowledged send began.
    newest: BTreeMap<i32, AtomicU64>,
}

impl Progress {
    pub(super) fn new(partitions: &[i32]) -> Self {
        Self {
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            newest: partitions.iter().map(|partition| (*partition, AtomicU64::new(0))).collect(),
        }
    }

    pub(super) fn add_acknowledged(&self, partition: i32, begin_us: u64) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(newest) = self.newest.get(&partition) {
            newest.fetch_max(begin_us + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn add_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Sends refused or unknown so far.
    #[must_use]
    pub fn not_acknowledged(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) + self.unknown.load(Ordering::Relaxed)
    }

    /// Waits until `more` further sends are acknowledged.
    ///
    /// # Errors
    /// The deadline passes.
    pub fn wait_acknowledged(&self, more: u64, deadline: Duration) -> Result<()> {
        let (begin, goal) = (Instant::now(), self.acknowledged() + more);
        while self.acknowledged() < goal {
            if begin.elapsed() > deadline {
                let missing = goal - self.acknowledged();
                bail!("{missing} of {more} sends were not acknowledged within {deadline:?}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until every partition has acknowledged a send that began after `since_us`.
    ///
    /// # Errors
    /// The deadline passes; the silent partitions are named.
    pub fn wait_every_partition(&self, since_us: u64, deadline: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            let silent: Vec<i32> = self
                .newest
                .iter()
                .filter(|(_, newest)| newest.load(Ordering::Relaxed) <= since_us)
                .map(|(partition, _)| *partition)
                .collect();
            if silent.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > deadline {
                bail!("no write to partitions {silent:?} was acknowledged within {deadline:?}");
            }
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_counts_from_a_send_begun_after_the_mark() {
        let progress = Progress::new(&[0, 1]);
        progress.add_acknowledged(0, 500);
        progress.add_acknowledged(1, 99);
        assert!(progress.wait_every_partition(98, Duration::ZERO).is_ok());
        let error = progress.wait_every_partition(100, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("partitions [1]"), "{error}");
        assert_eq!(progress.acknowledged(), 2);
    }
}
