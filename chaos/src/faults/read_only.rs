//! A node's volume becomes read-only, as ext4 makes it after an error of the disk: the node must end and say
//! why.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Fault, Victim};
use crate::cluster::{Cluster, NodeId};

/// From the change to the end of the process.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// What the node's log has to name.
const REASON: &str = "Read-only file system";

/// See the file's head. The cluster's nodes need volumes of their own.
#[derive(Clone, Debug)]
pub struct ReadOnly {
    victim: Victim,
    hit: Option<NodeId>,
}

impl ReadOnly {
    /// Of this node.
    #[must_use]
    pub fn of(victim: Victim) -> Self {
        Self { victim, hit: None }
    }
}

impl Fault for ReadOnly {
    fn name(&self) -> &'static str {
        "read-only"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        let node = cluster.node_mut(victim);
        node.make_volume_read_only()?;
        let status = node.wait_end(END_DEADLINE).context("its volume is read-only")?;
        let said = node.log_tail();
        ensure!(!status.success(), "node {victim} ended with {status} on a read-only volume");
        ensure!(said.contains(REASON), "node {victim} does not say why it ended:\n{said}");
        self.hit = Some(victim);
        Ok(vec![victim])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        let hit = self.hit.take().context("the fault has not begun")?;
        cluster.node(hit).mount_again()?;
        cluster.start_all()
    }
}
