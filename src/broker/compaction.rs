//! Compacts logs: one task per node, one log at a time, the dirtiest first.
//!
//! ```text
//! every interval: all compacted logs ─► dirty enough, or overdue ─► the dirtiest ─► compacted ─► again
//!                                                                              └─ none ─► sleep
//! ```
//! **Invariant:** files are read and written off the runtime's threads, no faster than the limit.
//! **Invariant:** an error of one log is told once and keeps only that log from being compacted, until
//! its topic is not compacted any more or the node starts again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;
use crate::model::{Clock, PartitionIndex, TopicId};
use crate::partition::{Partition, PartitionSet};
use crate::storage::{Compacted, LogError};

/// Longest sleep between two looks at whether to stop.
const NAP: Duration = Duration::from_millis(50);

type Key = (TopicId, PartitionIndex);

/// What compaction works with.
#[derive(Clone)]
pub(super) struct Compactor {
    /// Between two looks when there is nothing to do (`log.cleaner.backoff.ms`).
    pub(super) interval: Duration,
    /// Most memory for a key map (`log.cleaner.dedupe.buffer.size`).
    pub(super) map_bytes_max: usize,
    /// Most bytes read and written in a second (`log.cleaner.io.max.bytes.per.second`).
    pub(super) bytes_per_second: u64,
    pub(super) partitions: Arc<PartitionSet>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

/// Set when the task is gone: the thread that compacts ends soon after.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Logs that could not be compacted.
type Refused = HashSet<Key>;

fn key(partition: &Partition) -> Key {
    (partition.topic_id(), partition.name().partition)
}

impl Compactor {
    /// Compacts until aborted.
    pub(super) async fn run(self) {
        let stop = Stop(Arc::default());
        let mut refused = Refused::new();
        loop {
            tokio::time::sleep(self.interval).await;
            while let Some(partition) = self.dirtiest(&mut refused).await {
                let goes_on = self.compact(partition, &stop.0, &mut refused).await;
                if !goes_on {
                    break;
                }
            }
        }
    }

    /// The log to be compacted next.
    async fn dirtiest(&self, refused: &mut Refused) -> Option<Arc<Partition>> {
        let this = self.clone();
        let mut known = std::mem::take(refused);
        let looked = jackdaw_raft::apart(move || {
            let found = this.look(&mut known);
            (found, known)
        });
        let (found, known) = looked.await.ok()?;
        *refused = known;
        found
    }

    fn look(&self, refused: &mut Refused) -> Option<Arc<Partition>> {
        let now = self.clock.now();
        let (mut best, mut dirty_bytes_max) = (None, 0);
        let compacted: Vec<_> =
            self.partitions.all().into_iter().filter(|p| p.compaction().is_some()).collect();
        let keys: HashSet<Key> = compacted.iter().map(|partition| key(partition)).collect();
        refused.retain(|key| keys.contains(key));
        for partition in compacted {
            if refused.contains(&key(&partition)) {
                continue;
            }
            match partition.dirt(now) {
                Err(error) if error.may_pass() => {
                    tracing::warn!(partition = %partition.name(), %error, "looked at another time");
                }
                Err(error) => self.refuse(&partition, &error, refused),
                Ok(None) => {}
                Ok(Some(dirt)) => {
                    dirty_bytes_max = dirty_bytes_max.max(dirt.dirty_bytes);
                    let least = partition.compaction().map_or(1.0, |l| l.dirty_ratio_min);
                    let due = dirt.is_overdue || dirt.ratio() > least;
                    if due && best.as_ref().is_none_or(|(most, _)| dirt.ratio() > *most) {
                        best = Some((dirt.ratio(), partition));
                    }
                }
            }
        }
        self.metrics.compaction.waiting(dirty_bytes_max, refused.len());
        best.map(|(_, partition)| partition)
    }

    /// Whether to look for another one at once.
    async fn compact(
        &self,
        partition: Arc<Partition>,
        stop: &Arc<AtomicBool>,
        refused: &mut Refused,
    ) -> bool {
        let began = Instant::now();
        let (this, stop, one) = (self.clone(), Arc::clone(stop), Arc::clone(&partition));
        let ran = jackdaw_raft::apart(move || {
            let mut pace = Pace::new(this.bytes_per_second);
            let here = || this.partitions.get(key(&one).0, key(&one).1);
            let stays = || here().is_some_and(|other| Arc::ptr_eq(&one, &other));
            let mut pace = |bytes| pace.goes_on(bytes, &stop) && stays();
            one.compact(this.clock.now(), this.map_bytes_max, &mut pace)
        });
        match ran.await {
            Ok(Ok(done)) => self.count(&partition, &done, began.elapsed()),
            Ok(Err(error)) => {
                if error.may_pass() || matches!(error, LogError::Failed { .. }) {
                    tracing::warn!(partition = %partition.name(), %error, "compacted another time");
                    return false;
                }
                self.refuse(&partition, &error, refused);
                true
            }
            // It panicked: its batch or its file would make it do so again.
            Err(error) => {
                tracing::error!(partition = %partition.name(), %error, "is not compacted any more");
                refused.insert(key(&partition));
                true
            }
        }
    }

    fn count(&self, partition: &Partition, done: &Compacted, took: Duration) -> bool {
        let bytes = (done.bytes_before, done.bytes_after);
        self.metrics.compaction.done(done.records_dropped, bytes, took);
        if done.segments > 0 {
            tracing::info!(
                partition = %partition.name(),
                upto = %done.upto,
                segments = done.segments,
                records_dropped = done.records_dropped,
                bytes_before = done.bytes_before,
                bytes_after = done.bytes_after,
                ms = took.as_millis() as u64,
                "compacted"
            );
        }
        done.finished
    }

    fn refuse(&self, partition: &Arc<Partition>, error: &LogError, refused: &mut Refused) {
        let (topic, index) = key(partition);
        // A partition that was stopped meanwhile has lost its folder, and nobody misses it.
        if self.partitions.get(topic, index).is_some_and(|other| Arc::ptr_eq(partition, &other)) {
            tracing::error!(partition = %partition.name(), %error, "is not compacted any more");
            refused.insert((topic, index));
        }
    }
}

/// Keeps to a number of bytes per second.
struct Pace {
    bytes_per_second: u64,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, began: Instant::now(), bytes: 0 }
    }

    /// Waits until so many more bytes were in order; whether to go on.
    fn goes_on(&mut self, bytes: u64, stop: &AtomicBool) -> bool {
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_second.max(1) as f64);
        while !stop.load(Ordering::Relaxed) {
            let ahead = due.saturating_sub(self.began.elapsed());
            if ahead.is_zero() {
                return true;
            }
            std::thread::sleep(ahead.min(NAP));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_a_stop_is_heeded() {
        let (mut pace, stop) = (Pace::new(1_000_000), AtomicBool::new(false));
        for _ in 0..10 {
            assert!(pace.goes_on(10_000, &stop));
        }
        assert!(pace.began.elapsed() >= Duration::from_millis(100));
        let stop = Arc::new(stop);
        drop(Stop(Arc::clone(&stop)));
        assert!(!pace.goes_on(u64::MAX / 2, &stop));
    }
}
