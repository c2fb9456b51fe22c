//! `kill -9` of nodes that were drawn beforehand, at the same moment.

use anyhow::Result;

use super::{Fault, majority_without};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Debug)]
pub struct KillNodes {
    nodes: Vec<NodeId>,
    majority_survives: bool,
}

impl KillNodes {
    /// Of these, in a cluster of `of`.
    #[must_use]
    pub fn of_nodes(nodes: Vec<NodeId>, of: usize) -> Self {
        let majority_survives = majority_without(nodes.len(), of);
        Self { nodes, majority_survives }
    }
}

impl Fault for KillNodes {
    fn name(&self) -> &'static str {
        "kill-random"
    }

    fn majority_survives(&self) -> bool {
        self.majority_survives
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        for id in &self.nodes {
            cluster.node(*id).signal_kill()?;
        }
        for id in &self.nodes {
            cluster.node_mut(*id).kill()?;
        }
        Ok(self.nodes.clone())
    }
}
