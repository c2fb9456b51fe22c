//! A replica on disk: where faults of stored bytes happen.

use std::path::PathBuf;

use super::segments;
use crate::cluster::{Cluster, NodeId};

/// A partition's replica on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node, which such a fault kills first.
    pub node: NodeId,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

impl Place {
    pub(super) fn folder(&self, cluster: &Cluster) -> PathBuf {
        segments::folder(cluster.node(self.node), &self.topic, self.partition)
    }
}
