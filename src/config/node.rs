//! What a node is told: the validated configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::BrokerId;

/// A node's configuration, valid by construction.
///
/// `NodeConfig::default()` is what `jackdaw serve` runs without arguments: a one-node cluster on
/// 127.0.0.1 ports 9092, 7092 and 8092 with its data in `./data`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// This node's id, unique in the cluster, ≥ 0.
    pub node_id: BrokerId,
    /// The cluster's name, the same on all its nodes; a data folder of another one is refused.
    pub cluster: String,
    /// Where everything durable lives; made if it is not there.
    pub data_dir: PathBuf,
    /// Whether binding beyond loopback without TLS and SASL is allowed.
    pub insecure: bool,
    /// The sockets.
    pub listeners: ListenerConfig,
    /// The founding members, this node among them; each votes in the metadata group.
    pub nodes: BTreeMap<BrokerId, NodeAddress>,
    /// What a new topic gets when its creator does not say.
    pub topics: TopicConfig,
    /// Bounds on what clients can make a node hold.
    pub limits: LimitConfig,
    /// Consensus timing.
    pub raft: RaftConfig,
    /// Segments and caches.
    pub storage: StorageConfig,
    /// Consumer groups.
    pub groups: GroupConfig,
    /// The process's own log.
    pub logging: LoggingConfig,
}

/// Addresses that a node listens on, and the one that it tells clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Kafka clients.
    pub kafka: SocketAddr,
    /// The other nodes.
    pub peer: SocketAddr,
    /// HTTP: health, metrics, administration.
    pub admin: SocketAddr,
    /// Host name or address that clients are told to connect to.
    pub advertised_host: String,
    /// Port that clients are told, if it is not the one bound.
    pub advertised_port: Option<u16>,
}

/// Where a founding member is reached by the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// `host:port` of its peer listener.
    pub peer: String,
}

/// Defaults of new topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Partitions (`num.partitions`), ≥ 1.
    pub num_partitions: i32,
    /// Replicas of each partition (`default.replication.factor`), from 1 to the number of nodes.
    pub replication_factor: i16,
    /// Whether asking for an unknown topic makes it (`auto.create.topics.enable`).
    pub auto_create: bool,
}

/// Bounds on what clients can make a node hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// Largest request (`socket.request.max.bytes`), bytes.
    pub frame_bytes_max: usize,
    /// Bytes of all requests being read or worked on; reading waits when they are spent.
    pub inflight_bytes_max: usize,
    /// Open client connections (`max.connections`).
    pub connections_max: usize,
    /// A connection silent for so long is closed (`connections.max.idle.ms`), ms.
    pub connection_idle_ms: u64,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            frame_bytes_max: 100 * 1024 * 1024,
            inflight_bytes_max: 256 * 1024 * 1024,
            connections_max: 10_000,
            connection_idle_ms: 600_000,
        }
    }
}

/// Consensus timing. One heartbeat per pair of nodes serves all groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftConfig {
    /// Interval of heartbeats between two nodes, ms.
    pub heartbeat_ms: u64,
    /// A peer silent for so long is dead, and the groups that it led are elected anew, ms.
    pub peer_dead_ms: u64,
    /// A node that was back for so long leads again what it is preferred for, not before twice as long after
    /// it was lost, ms.
    pub settle_ms: u64,
    /// Old records sent to replicas that were away, of all partitions together, bytes per second.
    pub catch_up_bytes_per_s: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            peer_dead_ms: 500,
            settle_ms: 5_500,
            catch_up_bytes_per_s: 128 << 20,
        }
    }
}

/// Segments and caches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// A segment is closed and the next begun at this size (`log.segment.bytes`), bytes.
    pub segment_bytes: u64,
    /// Log bytes between two entries of the offset index (`log.index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Segments whose files are open at a time, the least recently used being closed; 0: as many as the
    /// process's limit of open files allows beside the connections.
    pub open_segments_max: usize,
    /// How often a node looks for records that are too old (`log.retention.check.interval.ms`), ms.
    pub retention_check_interval_ms: u64,
    /// Bytes of the volume that records from producers leave free; at most a twentieth of it.
    pub reserve_bytes: u64,
    /// How often a node looks for logs to compact when there were none (`log.cleaner.backoff.ms`), ms.
    pub compaction_interval_ms: u64,
    /// Most memory for the keys of the log that is compacted (`log.cleaner.dedupe.buffer.size`), bytes.
    pub compaction_map_bytes: u64,
    /// Most bytes that compaction reads and writes in a second
    /// (`log.cleaner.io.max.bytes.per.second`).
    pub compaction_bytes_per_second: u64,
    /// Recent entries kept in memory for replication and reading, all partitions together, bytes.
    pub cache_bytes: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            index_interval_bytes: 4096,
            open_segments_max: 0,
            retention_check_interval_ms: 300_000,
            reserve_bytes: 512 * 1024 * 1024,
            compaction_interval_ms: 15_000,
            compaction_map_bytes: 128 * 1024 * 1024,
            compaction_bytes_per_second: 64 * 1024 * 1024,
            cache_bytes: 24 * 1024 * 1024,
        }
    }
}

/// Consumer groups. The keys are Kafka's `group.*` and `offsets.retention.minutes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Shortest session timeout that a member may ask for, ms.
    pub session_timeout_min_ms: u64,
    /// Longest one, ms.
    pub session_timeout_max_ms: u64,
    /// How long the first rebalance of an empty group waits for more members, ms.
    pub initial_rebalance_delay_ms: u64,
    /// How long offsets outlive a group's last member, minutes.
    pub offsets_retention_minutes: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            offsets_retention_minutes: 10_080,
        }
    }
}

/// The process's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// What is logged, as in `info,jackdaw::group=debug` (`JACKDAW_LOG` overrides it).
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { filter: "info,openraft=off".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the process's log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Level, place and message, with the time.
    Text,
    /// The same without the time, for journald and containers that add their own.
    Plain,
}

impl NodeConfig {
    /// Whether this node is the whole cluster.
    #[must_use]
    pub fn is_single_node(&self) -> bool {
        self.nodes.len() == 1
    }
}
