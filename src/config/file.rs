//! The file as it is written: every key, each with its default.
//!
//! **Invariant:** `FileConfig::default()` serialises to exactly the known keys; the search for
//! typos and the test of `config/node.toml` both rely on it.

use serde::{Deserialize, Serialize};

use super::node::{GroupConfig, LimitConfig, LoggingConfig, RaftConfig, StorageConfig};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileConfig {
    pub(super) node_id: i32,
    pub(super) cluster: String,
    pub(super) data_dir: String,
    pub(super) insecure: bool,
    /// Empty: this node alone.
    pub(super) nodes: Vec<FileNode>,
    pub(super) listeners: FileListeners,
    pub(super) topics: FileTopics,
    pub(super) limits: LimitConfig,
    pub(super) raft: RaftConfig,
    pub(super) storage: StorageConfig,
    pub(super) groups: GroupConfig,
    pub(super) logging: LoggingConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileNode {
    pub(super) id: i32,
    pub(super) peer: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileListeners {
    pub(super) kafka: String,
    pub(super) peer: String,
    pub(super) admin: String,
    /// Empty: the host of `kafka`.
    pub(super) advertised_host: String,
    /// Zero: the port bound for `kafka`.
    pub(super) advertised_port: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileTopics {
    pub(super) num_partitions: i32,
    /// Zero: three, or the number of nodes if that is less.
    pub(super) replication_factor: i16,
    pub(super) auto_create: bool,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            node_id: 1,
            cluster: "jackdaw".to_owned(),
            data_dir: "data".to_owned(),
            insecure: false,
            nodes: Vec::new(),
            listeners: FileListeners::default(),
            topics: FileTopics::default(),
            limits: LimitConfig::default(),
            raft: RaftConfig::default(),
            storage: StorageConfig::default(),
            groups: GroupConfig::default(),
            logging: LoggingConfig::default(),
        }
    }
}

impl Default for FileListeners {
    fn default() -> Self {
        Self {
            kafka: "127.0.0.1:9092".to_owned(),
            peer: "127.0.0.1:7092".to_owned(),
            admin: "127.0.0.1:8092".to_owned(),
            advertised_host: String::new(),
            advertised_port: 0,
        }
    }
}

impl Default for FileTopics {
    fn default() -> Self {
        Self { num_partitions: 1, replication_factor: 0, auto_create: true }
    }
}
