//! `kill -9` of a node that leads as little as any.

use anyhow::Result;

use super::{Fault, Victim};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Debug)]
pub struct KillFollower {
    victim: Victim,
}

impl KillFollower {
    /// The idlest node of `topic` at the time when the fault begins.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        Self { victim: Victim::Follower(topic.to_owned()) }
    }
}

impl Fault for KillFollower {
    fn name(&self) -> &'static str {
        "kill-follower"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        cluster.node_mut(victim).kill()?;
        Ok(vec![victim])
    }
}
