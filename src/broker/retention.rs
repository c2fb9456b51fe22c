//! Deletes old records: one timer per node asks the partitions that it leads, and one task purges what
//! any replica here may let go of.
//!
//! ```text
//! every interval: led partitions, a slice at a time ─► expired? ─► Retain command (replicated)
//! purge queue ◄─ every replica that applied one ─► snapshot and purge, a few at a time
//! ```
//! **Invariant:** nothing here looks at a partition more often than once per interval, unless a command
//! was applied to it; files are read and deleted off the runtime's threads.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::model::Clock;
use crate::partition::{Partition, PartitionError, PartitionSet, PurgeKey};
use crate::storage::{PurgedTotals, RetainFrom, Storage};

/// Partitions asked in one piece of blocking work.
const SLICE: usize = 64;
/// Commands, and purges, under way at the same time.
const AT_ONCE: usize = 16;
/// Longest wait for a command to be committed; it may be so later.
const COMMIT_WAIT: Duration = Duration::from_secs(10);

/// What retention works with.
#[derive(Clone)]
pub(super) struct Retention {
    /// Between two rounds (`log.retention.check.interval.ms`).
    pub(super) interval: Duration,
    pub(super) partitions: Arc<PartitionSet>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) storage: Storage,
    pub(super) metrics: Arc<Metrics>,
}

impl Retention {
    /// Asks the partitions in rounds, until aborted.
    pub(super) async fn run(self) {
        loop {
            tokio::time::sleep(self.interval).await;
            self.round().await;
        }
    }

    async fn round(&self) {
        for slice in self.partitions.all().chunks(SLICE) {
            let expired = self.look(slice.to_vec()).await;
            futures_util::stream::iter(expired)
                .for_each_concurrent(AT_ONCE, |(partition, from)| retain(partition, from))
                .await;
            // What a crash or a slow replication left over.
            let due = slice.iter().filter(|partition| partition.purge_due()).cloned();
            futures_util::stream::iter(due).for_each_concurrent(AT_ONCE, purge).await;
            self.count();
        }
    }

    /// Those of `slice` whose logs are to begin later.
    async fn look(&self, slice: Vec<Arc<Partition>>) -> Vec<(Arc<Partition>, RetainFrom)> {
        let now = self.clock.now();
        let looked = jackdaw_raft::apart(move || {
            let mut expired = Vec::new();
            for partition in slice {
                match partition.expired(now) {
                    Ok(Some(from)) => expired.push((partition, from)),
                    Ok(None) => {}
                    Err(error) => {
                        let partition = partition.name();
                        tracing::warn!(%partition, %error, "its age cannot be told");
                    }
                }
            }
            expired
        });
        looked.await.unwrap_or_default()
    }

    /// Purges what partitions announce, until their last sender is gone.
    pub(super) async fn purge(self, mut queue: mpsc::UnboundedReceiver<PurgeKey>) {
        let mut keys = Vec::new();
        while queue.recv_many(&mut keys, SLICE).await > 0 {
            let found =
                keys.drain(..).filter_map(|(topic, index)| self.partitions.get(topic, index));
            let found: Vec<_> = found.collect();
            futures_util::stream::iter(found).for_each_concurrent(AT_ONCE, purge).await;
            self.count();
        }
    }

    fn count(&self) {
        let PurgedTotals { segments, bytes } = self.storage.purged();
        self.metrics.set_purged(segments, bytes);
    }
}

async fn retain(partition: Arc<Partition>, from: RetainFrom) {
    let name = partition.name();
    match tokio::time::timeout(COMMIT_WAIT, partition.retain(from)).await {
        Ok(Ok(start)) => tracing::info!(partition = %name, %start, "old records deleted"),
        // Another leader decides for itself.
        Ok(Err(PartitionError::NotLeader)) => {}
        Ok(Err(error)) => tracing::warn!(partition = %name, %error, "old records stay for now"),
        Err(_) => tracing::warn!(partition = %name, "old records stay: no majority answers"),
    }
}

async fn purge(partition: Arc<Partition>) {
    if let Err(error) = partition.purge().await {
        tracing::debug!(partition = %partition.name(), %error, "a purge is put off");
    }
}
