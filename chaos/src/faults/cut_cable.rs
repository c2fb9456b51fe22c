//! The cable of the node that leads most partitions is pulled: neither nodes nor clients reach it, and
//! no connection to it says so.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Fault, SILENCE_MAX, Victim};
use crate::cluster::{Cluster, NodeId};

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Debug)]
pub struct CutCable {
    victim: Victim,
    cut: Option<NodeId>,
}

impl CutCable {
    /// The busiest leader of `topic` at the time when the fault begins.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        Self { victim: Victim::Leader(topic.to_owned()), cut: None }
    }
}

impl Fault for CutCable {
    fn name(&self) -> &'static str {
        "cut-cable"
    }

    fn write_gap_max(&self) -> Duration {
        SILENCE_MAX
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        cluster.network()?.unplug(victim)?;
        self.cut = Some(victim);
        Ok(vec![victim])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        let cut = self.cut.take().context("the fault has not begun")?;
        cluster.network()?.plug(cut)
    }
}
