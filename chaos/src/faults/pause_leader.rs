//! SIGSTOP of the node that leads most partitions: its sockets stay open and it believes, when it
//! wakes, that it leads still.

use anyhow::{Context, Result};

use super::{Fault, LEADERS_DEADLINE};
use crate::cluster::{Cluster, NodeId, busiest_leader};

/// See the file's head.
#[derive(Debug)]
pub struct PauseLeader {
    topic: String,
    paused: Option<NodeId>,
}

impl PauseLeader {
    /// The busiest leader of `topic` at the time when the fault begins.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), paused: None }
    }
}

impl Fault for PauseLeader {
    fn name(&self) -> &'static str {
        "pause-leader"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let partitions = cluster.wait_led(&self.topic, LEADERS_DEADLINE)?;
        let victim = busiest_leader(&partitions).context("no partition has a leader")?;
        cluster.node(victim).pause()?;
        self.paused = Some(victim);
        Ok(vec![victim])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        let paused = self.paused.take().context("the fault has not begun")?;
        cluster.node(paused).resume()
    }
}
