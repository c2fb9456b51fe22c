//! `kill -9` of the node that leads most partitions of a topic.

use anyhow::Result;

use super::{Fault, Victim};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Debug)]
pub struct KillLeader {
    victim: Victim,
}

impl KillLeader {
    /// The busiest leader of `topic` at the time when the fault begins.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        Self { victim: Victim::Leader(topic.to_owned()) }
    }
}

impl Fault for KillLeader {
    fn name(&self) -> &'static str {
        "kill-leader"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        cluster.node_mut(victim).kill()?;
        Ok(vec![victim])
    }
}
