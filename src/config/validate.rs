//! From what is written to what holds: every check that a single value's type cannot make.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::document::Document;
use super::error::ConfigError;
use super::file::{FileConfig, FileListeners, FileNode, FileTopics};
use super::node::{ListenerConfig, NodeAddress, NodeConfig, TopicConfig};
use crate::model::BrokerId;

/// Nodes in the metadata group beyond which elections cost more than they protect.
const NODES_MAX: usize = 9;

impl Default for NodeConfig {
    fn default() -> Self {
        match validate(FileConfig::default()) {
            Ok(config) => config,
            Err(error) => unreachable!("the defaults are valid: {error}"),
        }
    }
}

impl NodeConfig {
    /// Reads the file at `path`, or takes the defaults, and applies `key=value` overrides.
    ///
    /// # Errors
    /// The file cannot be read, or anything in it or in the overrides is refused.
    pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                ConfigError::new(
                    "",
                    format!("cannot be read: {error}"),
                    "give the path of a configuration file, or none to run with the defaults",
                )
                .in_file(Some(path))
            })?,
        };
        Self::parse(&text, path, overrides)
    }

    /// The configuration that `text` describes; `file` is only named in errors.
    ///
    /// # Errors
    /// Anything in `text` or in the overrides is refused.
    pub fn parse(
        text: &str,
        file: Option<&Path>,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let document = Document::read(text, overrides).map_err(|error| {
            if error.key.starts_with("--set") { error } else { error.in_file(file) }
        })?;
        validate(document.config.clone()).map_err(|error| document.locate(error, file))
    }
}

fn validate(file: FileConfig) -> Result<NodeConfig, ConfigError> {
    if file.node_id < 0 {
        return Err(ConfigError::new("node_id", "is negative", "use 1, 2, 3 …"));
    }
    check_cluster(&file.cluster)?;
    if file.data_dir.is_empty() {
        return Err(ConfigError::new("data_dir", "is empty", "name a folder"));
    }
    let node_id = BrokerId(file.node_id);
    let listeners = listeners(&file.listeners, file.insecure)?;
    let nodes = nodes(&file.nodes, node_id, listeners.peer)?;
    let topics = topics(&file.topics, nodes.len())?;
    check_ranges(&file)?;
    Ok(NodeConfig {
        node_id,
        cluster: file.cluster,
        data_dir: PathBuf::from(file.data_dir),
        insecure: file.insecure,
        listeners,
        nodes,
        topics,
        limits: file.limits,
        raft: file.raft,
        storage: file.storage,
        groups: file.groups,
        logging: file.logging,
    })
}

fn check_cluster(name: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(ConfigError::new(
            "cluster",
            format!("cannot be {name:?}"),
            "use 1 to 64 letters, digits, `.`, `-` and `_`",
        ));
    }
    Ok(())
}

fn address(key: &str, text: &str, insecure: bool) -> Result<SocketAddr, ConfigError> {
    let address: SocketAddr = text.parse().map_err(|_| {
        ConfigError::new(
            key,
            format!("is not an address to bind: {text:?}"),
            "write IP:PORT, as in 127.0.0.1:9092 (names belong into advertised_host)",
        )
    })?;
    if !address.ip().is_loopback() && !insecure {
        return Err(ConfigError::new(
            key,
            format!(
                "would open {address} to the network, where this version has neither TLS nor SASL"
            ),
            "bind a loopback address, or set `insecure = true` on a network that you trust",
        ));
    }
    Ok(address)
}

fn listeners(file: &FileListeners, insecure: bool) -> Result<ListenerConfig, ConfigError> {
    let kafka = address("listeners.kafka", &file.kafka, insecure)?;
    let peer = address("listeners.peer", &file.peer, insecure)?;
    let admin = address("listeners.admin", &file.admin, insecure)?;
    for (key, one, other) in [
        ("listeners.peer", peer, kafka),
        ("listeners.admin", admin, kafka),
        ("listeners.admin", admin, peer),
    ] {
        if one == other && one.port() != 0 {
            return Err(ConfigError::new(
                key,
                format!("is {one}, which another listener has already"),
                "give each listener its own port",
            ));
        }
    }
    let advertised_host = match file.advertised_host.as_str() {
        "" if kafka.ip().is_unspecified() => {
            return Err(ConfigError::new(
                "listeners.advertised_host",
                format!("is needed because {} is no address that a client can reach", kafka.ip()),
                "set it to the name or address by which clients reach this node",
            ));
        }
        "" => kafka.ip().to_string(),
        host if unreachable_host(host) => {
            return Err(ConfigError::new(
                "listeners.advertised_host",
                format!("cannot be {host:?}"),
                "set it to a name or an address without a port",
            ));
        }
        host => host.to_owned(),
    };
    let advertised_port = (file.advertised_port != 0).then_some(file.advertised_port);
    Ok(ListenerConfig { kafka, peer, admin, advertised_host, advertised_port })
}

fn unreachable_host(host: &str) -> bool {
    let ip: Option<IpAddr> = host.parse().ok();
    match ip {
        Some(ip) => ip.is_unspecified(),
        None => {
            host.len() > 255
                || !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    }
}

fn nodes(
    list: &[FileNode],
    me: BrokerId,
    peer: SocketAddr,
) -> Result<BTreeMap<BrokerId, NodeAddress>, ConfigError> {
    if list.is_empty() {
        return Ok(BTreeMap::from([(me, NodeAddress { peer: peer.to_string() })]));
    }
    let mut nodes: BTreeMap<BrokerId, NodeAddress> = BTreeMap::new();
    for (index, node) in list.iter().enumerate() {
        let well_formed = node
            .peer
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !well_formed {
            return Err(ConfigError::new(
                format!("nodes[{index}].peer"),
                format!("is not an address: {:?}", node.peer),
                "write HOST:PORT, as in 127.0.0.1:7092",
            ));
        }
        let same_address = nodes.iter().find(|(_, other)| other.peer == node.peer);
        if let Some((other, _)) = same_address.filter(|_| node.id >= 0) {
            return Err(ConfigError::new(
                format!("nodes[{index}].peer"),
                format!("is the address of node {other} too: {}", node.peer),
                "give each node its own address",
            ));
        }
        let address = NodeAddress { peer: node.peer.clone() };
        if node.id < 0 || nodes.insert(BrokerId(node.id), address).is_some() {
            return Err(ConfigError::new(
                format!("nodes[{index}].id"),
                format!("cannot be {} (negative or taken)", node.id),
                "give each node its own id, 0 or more",
            ));
        }
    }
    if !nodes.contains_key(&me) {
        let ids: Vec<String> = nodes.keys().map(ToString::to_string).collect();
        return Err(ConfigError::new(
            "nodes",
            format!("does not list this node, {me}: only {}", ids.join(", ")),
            "add it with its peer address, or correct node_id",
        ));
    }
    if nodes.len() > NODES_MAX || nodes.len().is_multiple_of(2) {
        return Err(ConfigError::new(
            "nodes",
            format!("lists {} nodes", nodes.len()),
            format!("list an odd number up to {NODES_MAX}: an even one survives no more failures"),
        ));
    }
    Ok(nodes)
}

fn topics(file: &FileTopics, nodes: usize) -> Result<TopicConfig, ConfigError> {
    if !(1..=10_000).contains(&file.num_partitions) {
        return Err(ConfigError::new(
            "topics.num_partitions",
            format!("cannot be {}", file.num_partitions),
            "use 1 to 10000",
        ));
    }
    let nodes = i16::try_from(nodes).unwrap_or(i16::MAX);
    let replication_factor = match file.replication_factor {
        0 => nodes.min(3),
        factor if (1..=nodes).contains(&factor) => factor,
        factor => {
            return Err(ConfigError::new(
                "topics.replication_factor",
                format!("cannot be {factor} with {nodes} node(s)"),
                format!("use 1 to {nodes}, or 0 to let the cluster's size decide"),
            ));
        }
    };
    Ok(TopicConfig {
        num_partitions: file.num_partitions,
        replication_factor,
        auto_create: file.auto_create,
    })
}

/// `(key, value, least, most)` of every plain number.
fn check_ranges(file: &FileConfig) -> Result<(), ConfigError> {
    const KIB: u64 = 1024;
    const GIB: u64 = 1024 * 1024 * 1024;
    let (limits, raft, storage, groups) = (&file.limits, &file.raft, &file.storage, &file.groups);
    let frame = limits.frame_bytes_max as u64;
    for (key, value, least, most) in [
        ("limits.frame_bytes_max", frame, 64 * KIB, 2 * GIB - 1),
        ("limits.inflight_bytes_max", limits.inflight_bytes_max as u64, frame, u64::MAX),
        ("limits.connections_max", limits.connections_max as u64, 1, 1_000_000),
        ("limits.connection_idle_ms", limits.connection_idle_ms, 1_000, u64::MAX),
        ("raft.heartbeat_ms", raft.heartbeat_ms, 10, 10_000),
        ("raft.peer_dead_ms", raft.peer_dead_ms, raft.heartbeat_ms * 2 + 1, 120_000),
        ("raft.settle_ms", raft.settle_ms, 100, 86_400_000),
        ("raft.catch_up_bytes_per_s", raft.catch_up_bytes_per_s, KIB, u64::MAX),
        ("storage.segment_bytes", storage.segment_bytes, 64 * KIB, 2 * GIB - 1),
        ("storage.index_interval_bytes", u64::from(storage.index_interval_bytes), 64, GIB),
        ("storage.open_segments_max", storage.open_segments_max as u64, 0, 1_000_000),
        (
            "storage.retention_check_interval_ms",
            storage.retention_check_interval_ms,
            10,
            i64::MAX as u64,
        ),
        ("storage.reserve_bytes", storage.reserve_bytes, 0, u64::MAX),
        ("storage.compaction_interval_ms", storage.compaction_interval_ms, 10, i64::MAX as u64),
        ("storage.compaction_map_bytes", storage.compaction_map_bytes, 24 * KIB, 64 * GIB),
        (
            "storage.compaction_bytes_per_second",
            storage.compaction_bytes_per_second,
            64 * KIB,
            i64::MAX as u64,
        ),
        ("storage.cache_bytes", storage.cache_bytes, 0, u64::MAX),
        ("groups.session_timeout_min_ms", groups.session_timeout_min_ms, 1, 1_800_000),
        (
            "groups.session_timeout_max_ms",
            groups.session_timeout_max_ms,
            groups.session_timeout_min_ms,
            i32::MAX as u64,
        ),
        ("groups.initial_rebalance_delay_ms", groups.initial_rebalance_delay_ms, 0, 300_000),
        ("groups.offsets_retention_minutes", groups.offsets_retention_minutes, 1, 10_000_000),
    ] {
        if !(least..=most).contains(&value) {
            let range = match most {
                u64::MAX => format!("{least} or more"),
                most => format!("{least} to {most}"),
            };
            return Err(ConfigError::new(
                key,
                format!("cannot be {value}"),
                format!("use {range}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
