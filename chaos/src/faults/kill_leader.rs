//! `kill -9` of the node that leads most partitions of a topic.

use anyhow::{Context, Result};

use super::{Fault, LEADERS_DEADLINE};
use crate::cluster::{Cluster, NodeId, busiest_leader};

/// See the file's head.
#[derive(Debug)]
pub struct KillLeader {
    topic: String,
}

impl KillLeader {
    /// The busiest leader of `topic` at the time when the fault begins.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned() }
    }
}

impl Fault for KillLeader {
    fn name(&self) -> &'static str {
        "kill-leader"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let partitions = cluster.wait_led(&self.topic, LEADERS_DEADLINE)?;
        let victim = busiest_leader(&partitions).context("no partition has a leader")?;
        cluster.node_mut(victim).kill()?;
        Ok(vec![victim])
    }
}
