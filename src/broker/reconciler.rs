//! Makes what runs on this node equal to what the metadata says.
//!
//! Level-triggered: every round compares the newest image with the running partitions, so a round
//! that was missed or failed is made up for by the next.
//!
//! ```text
//! MetadataImage ──► plan (pure) ──► stop what is not ours any more · start what is missing
//!                                   · repair what is damaged (see `quarantine`)
//! ```
//!
//! **Invariant:** a partition's files are removed only if a committed record deleted its topic while
//! this node ran it. Folders that the metadata does not know are set aside, and only once the
//! metadata has caught up with the cluster.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use jackdaw_raft::{HardState, HardStateStore, NodeId, RaftNode};
use tokio::sync::{Notify, Semaphore, watch};

use super::hard_states::HardStates;
use super::lock;
use super::quarantine::Troubles;
use super::short_logs::accept_loss;
use super::unknown_folders::set_aside_unknown;
use crate::metadata::configs::InvalidValue;
use crate::metadata::{Metadata, MetadataDelta, MetadataImage, TopicImage, partition_group};
use crate::model::{BrokerId, PartitionIndex, TopicId, TopicPartition};
use crate::partition::{
    OpenPartition, Partition, PartitionSet, PurgeSender, Rebuilt, RecordLimits, RetentionPolicy,
};
use crate::storage::{
    CompactionLimits, DataDir, Log, LogIdentity, LogOptions, RetentionLimits, RollLimits, Storage,
    read_identity,
};

/// Logs opened at the same time: opening reads the log's end, which is bound by the disk.
pub(super) const OPENING_MAX: usize = 8;
/// Partitions started at the same time. A new one waits for its first entry to be on the disk: so many
/// share a sync.
const STARTING_MAX: usize = 1_024;
/// Partitions stopped at the same time: the syncs that a deletion takes are shared, and few threads wait.
const STOPPING_MAX: usize = 16;

/// Between two attempts to repair a replica while no other one leads, or to open one while there is no
/// room.
const REPAIR_RETRY: Duration = Duration::from_secs(5);

/// What the reconciler works with.
pub(super) struct Reconciler {
    pub(super) broker: BrokerId,
    pub(super) metadata: Metadata,
    pub(super) cluster: String,
    pub(super) data_dir: Arc<DataDir>,
    pub(super) storage: Storage,
    pub(super) log_options: LogOptions,
    pub(super) raft: RaftNode,
    pub(super) hard_states: Arc<HardStates>,
    pub(super) partitions: Arc<PartitionSet>,
    /// Where partitions announce that they have something to purge.
    pub(super) purges: PurgeSender,
    /// Replicas that could not be opened or that had to be fetched again, with the reason.
    pub(super) troubles: Arc<Mutex<Troubles>>,
    /// Woken when a running replica finds its log damaged.
    pub(super) damaged: Arc<Notify>,
    /// Whether this node's image has caught up with the cluster.
    pub(super) registered: watch::Receiver<bool>,
    /// Rounds completed since then, for readiness.
    pub(super) rounds: watch::Sender<u64>,
    /// Bounds the logs that are opened at the same time.
    pub(super) opening: Semaphore,
}

/// A replica that this node should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) name: TopicPartition,
    pub(super) topic: TopicId,
    pub(super) replicas: Vec<BrokerId>,
}

/// What a topic's configs mean for its partitions.
#[derive(Clone)]
struct Configs {
    limits: RecordLimits,
    retention: RetentionPolicy,
    compaction: Option<CompactionLimits>,
    log: LogOptions,
}

/// The difference between the image and what runs.
#[derive(Default)]
struct Plan {
    start: Vec<Assigned>,
    /// With whether the topic is gone, and the files with it.
    stop: Vec<(Arc<Partition>, bool)>,
    /// Their logs are damaged, and other nodes have them.
    repair: Vec<(Arc<Partition>, Assigned)>,
}

impl Reconciler {
    /// Follows the metadata until its sender is dropped or the task is aborted.
    pub(super) async fn run(mut self) {
        let mut images = self.metadata.watch();
        let mut before = Arc::new(MetadataImage::default());
        loop {
            let caught_up = *self.registered.borrow_and_update();
            let image = Arc::clone(&images.borrow_and_update());
            let waits = self.round(&image).await;
            self.take_configs_over(&before, &image);
            before = image;
            if caught_up {
                if *self.rounds.borrow() == 0 {
                    self.set_unknown_folders_aside(&before).await;
                }
                self.rounds.send_modify(|rounds| *rounds += 1);
            }
            let changed = tokio::select! {
                changed = images.changed() => changed.is_ok(),
                changed = self.registered.changed(), if !caught_up => changed.is_ok(),
                () = self.damaged.notified() => true,
                () = tokio::time::sleep(REPAIR_RETRY), if waits => true,
            };
            if !changed {
                return;
            }
        }
    }

    /// Sets aside the folders that no partition has, once, between two rounds: whatever is in the image
    /// runs by now, and whatever was deleted with its topic is gone.
    async fn set_unknown_folders_aside(&self, image: &Arc<MetadataImage>) {
        let (data_dir, image) = (Arc::clone(&self.data_dir), Arc::clone(image));
        let moved = jackdaw_raft::apart(move || set_aside_unknown(&data_dir, &image));
        if let Err(error) = moved.await {
            tracing::warn!(%error, "unknown folders stay where they are");
        }
    }

    fn take_configs_over(&self, before: &MetadataImage, image: &MetadataImage) {
        let delta = MetadataDelta::between(before, image);
        for partition in self.partitions.all() {
            let changed = delta.changed.iter().any(|c| c.after.id == partition.topic_id());
            if (changed || delta.broker_configs_changed)
                && let Some(topic) = image.topic_by_id(partition.topic_id())
            {
                match self.configs(topic) {
                    Ok(configs) => {
                        partition.set_limits(configs.limits);
                        partition.set_retention(configs.retention);
                        partition.set_compaction(configs.compaction);
                        partition.log().set_roll_limits(configs.log.roll);
                        partition.log().set_flush_policy(configs.log.flush);
                    }
                    // Written by another version: what was in force stays in force.
                    Err(error) => tracing::error!(topic = %topic.name, %error, "a bad config"),
                }
            }
        }
    }

    /// The configs of a topic that its partitions act on.
    fn configs(&self, topic: &TopicImage) -> Result<Configs, InvalidValue> {
        let resolved = self.metadata.topic_config(topic)?;
        let limits = RecordLimits {
            message_bytes_max: resolved.message_bytes_max,
            segment_bytes_max: usize::try_from(resolved.segment_bytes).unwrap_or(usize::MAX),
            timestamp_before_max_ms: resolved.timestamp_before_max_ms,
            timestamp_after_max_ms: resolved.timestamp_after_max_ms,
            log_append_time: resolved.log_append_time,
            compacted: resolved.compact,
            codec: resolved.codec,
        };
        let mut log = self.log_options.clone();
        let compaction = resolved.compact.then_some(CompactionLimits {
            dirty_ratio_min: resolved.dirty_ratio_min,
            lag_min_ms: resolved.compaction_lag_min_ms,
            lag_max_ms: resolved.compaction_lag_max_ms.unwrap_or(u64::MAX),
            tombstones_ms: resolved.tombstones_ms,
        });
        // Only closed segments are compacted: records must not be older than allowed by then.
        let roll_ms = compaction.map_or(u64::MAX, |limits| limits.lag_max_ms);
        log.roll = RollLimits {
            bytes: resolved.segment_bytes,
            ms: resolved.segment_ms.min(roll_ms),
            jitter_ms: resolved.segment_jitter_ms,
        };
        log.flush = resolved.flush;
        log.index_interval_bytes = resolved.index_interval_bytes;
        let retention = RetentionPolicy {
            delete: resolved.delete,
            limits: RetentionLimits { ms: resolved.retention_ms, bytes: resolved.retention_bytes },
        };
        Ok(Configs { limits, retention, compaction, log })
    }

    /// Whether to come back before long: a repair waits, or a replica that is to be tried again.
    async fn round(&self, image: &MetadataImage) -> bool {
        let plan = self.plan(image);
        // Before any start: a new topic may have the name of a deleted one.
        futures_util::stream::iter(plan.stop)
            .for_each_concurrent(STOPPING_MAX, |(partition, deleted)| self.stop(partition, deleted))
            .await;
        futures_util::stream::iter(plan.start)
            .for_each_concurrent(STARTING_MAX, |assigned| self.start(image, assigned))
            .await;
        futures_util::stream::iter(plan.repair)
            .map(|(partition, assigned)| self.repair(image, partition, assigned))
            .buffer_unordered(OPENING_MAX)
            .fold(false, |waits, done| std::future::ready(waits || !done))
            .await
            || self.has_one_to_try_again()
    }

    fn plan(&self, image: &MetadataImage) -> Plan {
        let mut plan = Plan::default();
        let mut wanted = HashSet::new();
        let mut troubles = lock(&self.troubles);
        troubles.retain(|(topic, _), _| image.topic_by_id(*topic).is_some());
        for topic in image.topics_by_id.values() {
            for (index, replicas) in (0..).zip(&topic.partitions) {
                if !replicas.contains(&self.broker) {
                    continue;
                }
                let index = PartitionIndex(index);
                wanted.insert((topic.id, index));
                let name = TopicPartition::new(Arc::clone(&topic.name), index);
                let assigned = Assigned { name, topic: topic.id, replicas: replicas.clone() };
                let is_out = troubles
                    .get(&(topic.id, index))
                    .is_some_and(|trouble| trouble.is_out && !trouble.may_pass);
                match self.partitions.get(topic.id, index) {
                    None if is_out => {}
                    None => plan.start.push(assigned),
                    Some(partition) if partition.damage().is_some() && replicas.len() > 1 => {
                        plan.repair.push((partition, assigned));
                    }
                    Some(_) => {}
                }
            }
        }
        for partition in self.partitions.all() {
            let key = (partition.topic_id(), partition.name().partition);
            if !wanted.contains(&key) {
                plan.stop.push((partition, image.topic_by_id(key.0).is_none()));
            }
        }
        plan
    }

    pub(super) async fn start(&self, image: &MetadataImage, assigned: Assigned) {
        let Some(topic) = image.topic_by_id(assigned.topic) else {
            return;
        };
        let opened = match self.configs(topic) {
            Ok(configs) => self.open_or_refetch(&assigned, configs).await,
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(()) => {
                self.note_in(&assigned);
                tracing::debug!(partition = %assigned.name, "replica started");
            }
            Err(error) => self.note_out(&assigned, &error),
        }
    }

    async fn open_or_refetch(&self, assigned: &Assigned, configs: Configs) -> anyhow::Result<()> {
        if let Err(error) = self.open(assigned, configs.clone()).await {
            self.give_up_log(assigned, error).await?;
            self.open(assigned, configs).await?;
        }
        Ok(())
    }

    async fn open(&self, assigned: &Assigned, configs: Configs) -> anyhow::Result<()> {
        let Assigned { name, topic, replicas } = assigned.clone();
        let group = partition_group(topic, name.partition);
        let hard_state = self.hard_states.load(group)?;
        let (log, rebuilt) = self.open_log(assigned, configs.log, hard_state).await?;
        let voters: BTreeSet<NodeId> = replicas.iter().copied().map(node_of).collect();
        let partition = Partition::open(OpenPartition {
            name,
            topic_id: topic,
            group,
            log,
            limits: configs.limits,
            retention: configs.retention,
            compaction: configs.compaction,
            purges: self.purges.clone(),
            damaged: Arc::clone(&self.damaged),
            rebuilt,
            node: &self.raft,
            voters: voters.clone(),
            preferred: replicas.first().copied().map(node_of),
        })
        .await?;
        if let Err(error) = partition.group().initialize(voters).await {
            partition.close().await;
            return Err(error.into());
        }
        self.partitions.insert(partition);
        Ok(())
    }

    async fn open_log(
        &self,
        assigned: &Assigned,
        options: LogOptions,
        hard_state: HardState,
    ) -> anyhow::Result<(Log, Rebuilt)> {
        let Assigned { name, topic, replicas } = assigned;
        let is_only = replicas.len() == 1;
        let group = partition_group(*topic, name.partition);
        let identity = self.identity(*topic, name.partition);
        let (data_dir, storage) = (Arc::clone(&self.data_dir), self.storage.clone());
        let hard_states = Arc::clone(&self.hard_states);
        let dir = self.data_dir.partition_dir(name);
        let _permit = self.opening.acquire().await?;
        // Opening checks the log's end and goes over what it holds, which may read many megabytes.
        let opened = jackdaw_raft::apart(move || {
            // A topic of the same name was deleted while this node was away: its records are not ours
            // to serve, nor to remove.
            let found = if dir.exists() { read_identity(&dir)? } else { None };
            let is_new = found.is_none();
            // A log that is gone altogether is not one that ends too early.
            let mut durable_index = None;
            if found.is_some_and(|found| found != identity) {
                data_dir.set_aside(&dir, "it is of a deleted topic of the same name")?;
            } else if !is_new {
                if is_only {
                    accept_loss(&dir, group, &hard_states)?;
                }
                durable_index = hard_states.durable_index(group)?;
            }
            if is_new {
                storage.space().check_room_for_a_log(&dir)?;
            }
            let (log, recovery) = Log::open(&dir, &identity, options, &storage, durable_index)?;
            let is_known = hard_state.vote.is_some() || hard_state.unproven;
            if is_only && is_known && log.last().is_none() {
                anyhow::bail!(
                    "the log of the only replica is gone: stop the node and restore {} from a copy, \
                     or delete the topic",
                    dir.display()
                );
            }
            let rebuilt = Rebuilt::from_log(&log, hard_state.committed)?;
            anyhow::Ok((log, recovery, rebuilt))
        });
        let (log, recovery, rebuilt) = opened.await??;
        if recovery.cut_bytes > 0 {
            tracing::warn!(
                partition = %name,
                cut_bytes = recovery.cut_bytes,
                reason = recovery.cut_reason.as_deref().unwrap_or_default(),
                "an append that was never synced was cut off the log's end"
            );
        }
        Ok((log, rebuilt))
    }

    fn identity(&self, topic_id: TopicId, partition: PartitionIndex) -> LogIdentity {
        LogIdentity { cluster_id: self.cluster.clone(), topic_id, partition }
    }

    async fn stop(&self, partition: Arc<Partition>, deleted: bool) {
        let name = partition.name().clone();
        self.partitions.remove(partition.topic_id(), name.partition);
        partition.close().await;
        if !deleted {
            return;
        }
        let group = partition_group(partition.topic_id(), name.partition);
        if let Err(error) = self.hard_states.forget(group).await {
            tracing::warn!(partition = %name, %error, "the votes of a deleted partition stay");
        }
        let data_dir = Arc::clone(&self.data_dir);
        let removed = name.clone();
        let identity = self.identity(partition.topic_id(), name.partition);
        let removal = jackdaw_raft::apart(move || data_dir.delete_partition(&removed, &identity));
        match removal.await {
            Ok(Ok(())) => tracing::info!(partition = %name, "deleted with its topic"),
            Ok(Err(error)) => tracing::warn!(partition = %name, %error, "files cannot be removed"),
            Err(error) => tracing::warn!(partition = %name, %error, "removal was interrupted"),
        }
    }
}

fn node_of(broker: BrokerId) -> NodeId {
    NodeId(broker.0 as u64)
}
