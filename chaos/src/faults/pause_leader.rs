//! SIGSTOP of the node that leads most partitions: its sockets stay open and it believes, when it
//! wakes, that it leads still.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Fault, SILENCE_MAX, Victim};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Debug)]
pub struct PauseLeader {
    victim: Victim,
    paused: Option<NodeId>,
}

impl PauseLeader {
    /// The busiest leader of `topic` at the time when the fault begins.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        Self { victim: Victim::Leader(topic.to_owned()), paused: None }
    }
}

impl Fault for PauseLeader {
    fn name(&self) -> &'static str {
        "pause-leader"
    }

    fn write_gap_max(&self) -> Duration {
        SILENCE_MAX
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        cluster.node(victim).pause()?;
        self.paused = Some(victim);
        Ok(vec![victim])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        let paused = self.paused.take().context("the fault has not begun")?;
        cluster.node(paused).resume()
    }
}
