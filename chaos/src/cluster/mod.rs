//! A cluster of `jackdaw serve` processes, on loopback or on hosts of their own, for tests and for chaos
//! runs.
//!
//! ```text
//! folder/node1/node.toml      what the node is told
//!              jackdaw.log    its output, appended over restarts
//!              jackdaw.pid    its process id while it runs
//!              data/          its data, kept over restarts; data.img if it is a volume of its own
//! ```
//!
//! **Invariant:** dropping a [`Cluster`] ends every process that it started and no other.

mod binary;
mod http;
mod injection;
mod mounts;
mod network;
mod node;
mod options;
mod ports;
mod replicas;
mod runner;
mod tool;
mod trial;
mod verify;
mod view;
mod volume;

pub use binary::find_binary;
pub use http::{Answer, get, request};
pub use injection::{Injection, Sync};
pub use mounts::keep_apart;
pub use network::{Hindrance, Network, Wire};
pub use node::Node;
pub use options::{ClusterOptions, Folder};
pub use ports::{NodePorts, Ports};
pub use runner::Cluster;
pub use trial::{try_hosts, try_tracing, try_volumes};
pub use verify::{VerifiedPartition, verify_data_dir};
pub use view::{
    ClusterView, MetadataView, NodeView, PartitionView, ReplicaView, TopicView, busiest_leader,
};

/// A node's id in a cluster's configuration: 1 to the number of nodes.
pub type NodeId = i32;
