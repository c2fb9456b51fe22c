//! The power of some nodes' disks goes at the same moment: what was not synced is gone.

use anyhow::Result;

use super::{Fault, majority_without};
use crate::cluster::{Cluster, NodeId};

/// See the file's head. The cluster's nodes need volumes of their own.
#[derive(Debug)]
pub struct PowerCut {
    nodes: Vec<NodeId>,
    majority_survives: bool,
}

impl PowerCut {
    /// Of these nodes, in a cluster of `of`.
    #[must_use]
    pub fn of_nodes(nodes: Vec<NodeId>, of: usize) -> Self {
        let majority_survives = majority_without(nodes.len(), of);
        Self { nodes, majority_survives }
    }
}

impl Fault for PowerCut {
    fn name(&self) -> &'static str {
        if self.majority_survives { "power-cut" } else { "power-cut-majority" }
    }

    fn majority_survives(&self) -> bool {
        self.majority_survives
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        cluster.cut_power(&self.nodes)?;
        Ok(self.nodes.clone())
    }
}
