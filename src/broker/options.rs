//! The node's configuration, handed to each room in the room's own words.

use std::sync::Arc;
use std::time::Duration;

use crate::config::NodeConfig;
use crate::group::GroupOptions;
use crate::handlers::BrokerInfo;
use crate::metadata::configs::ConfigMap;
use crate::metadata::{BrokerRegistration, TopicDefaults};
use crate::server::ServerOptions;
use crate::storage::{LogOptions, RollLimits, StorageOptions};

/// `under` gives the disk and what belongs to it.
pub(super) fn storage(config: &NodeConfig, under: StorageOptions) -> StorageOptions {
    StorageOptions {
        cache_bytes_max: usize::try_from(config.storage.cache_bytes).unwrap_or(usize::MAX),
        // Threads share a sync of the volume; whoever works in their place does not.
        volume: under.workers.is_none().then(|| config.data_dir.clone()),
        reserve_bytes: config.storage.reserve_bytes,
        open_segments_max: config.storage.open_segments_max,
        wait: Arc::new(|waiting| jackdaw_raft::blocking(waiting)),
        ..under
    }
}

pub(super) fn log(config: &NodeConfig) -> LogOptions {
    LogOptions {
        roll: RollLimits { bytes: config.storage.segment_bytes, ..RollLimits::default() },
        index_interval_bytes: u64::from(config.storage.index_interval_bytes),
        ..LogOptions::default()
    }
}

pub(super) fn server(config: &NodeConfig) -> ServerOptions {
    ServerOptions {
        request_bytes_max: config.limits.frame_bytes_max,
        in_flight_bytes_max: config.limits.inflight_bytes_max,
        connections_max: config.limits.connections_max,
        idle_max: Duration::from_millis(config.limits.connection_idle_ms),
        ..ServerOptions::default()
    }
}

pub(super) fn groups(config: &NodeConfig) -> GroupOptions {
    let ms = |ms: u64| i32::try_from(ms).unwrap_or(i32::MAX);
    let groups = &config.groups;
    let minutes = i64::try_from(groups.offsets_retention_minutes).unwrap_or(i64::MAX);
    GroupOptions {
        session_timeout_min_ms: ms(groups.session_timeout_min_ms),
        session_timeout_max_ms: ms(groups.session_timeout_max_ms),
        initial_rebalance_delay_ms: u32::try_from(groups.initial_rebalance_delay_ms)
            .unwrap_or(u32::MAX),
        offsets_retention_ms: minutes.saturating_mul(60_000),
        ..GroupOptions::default()
    }
}

pub(super) fn topic_defaults(config: &NodeConfig) -> TopicDefaults {
    TopicDefaults {
        partitions: config.topics.num_partitions,
        replication_factor: config.topics.replication_factor,
    }
}

/// What the node's file sets, under Kafka's names.
pub(super) fn statics(config: &NodeConfig) -> ConfigMap {
    [
        ("num.partitions", config.topics.num_partitions.to_string()),
        ("default.replication.factor", config.topics.replication_factor.to_string()),
        ("auto.create.topics.enable", config.topics.auto_create.to_string()),
        ("log.segment.bytes", config.storage.segment_bytes.to_string()),
        ("log.retention.check.interval.ms", config.storage.retention_check_interval_ms.to_string()),
        ("log.cleaner.backoff.ms", config.storage.compaction_interval_ms.to_string()),
        ("log.cleaner.dedupe.buffer.size", config.storage.compaction_map_bytes.to_string()),
        (
            "log.cleaner.io.max.bytes.per.second",
            config.storage.compaction_bytes_per_second.to_string(),
        ),
        ("log.index.interval.bytes", config.storage.index_interval_bytes.to_string()),
        ("socket.request.max.bytes", config.limits.frame_bytes_max.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

pub(super) fn broker_info(config: &NodeConfig, registration: BrokerRegistration) -> BrokerInfo {
    BrokerInfo {
        registration,
        cluster_id: config.cluster.clone(),
        auto_create_topics: config.topics.auto_create,
        static_configs: statics(config),
    }
}
