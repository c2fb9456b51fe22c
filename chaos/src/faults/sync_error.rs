//! Every sync of a node fails with EIO: it must end and say why, since nobody knows what its disk holds, and a
//! second attempt would lie.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Fault, Victim};
use crate::cluster::{Cluster, NodeId, Sync};

/// From the first failing sync to the end of the process.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// What the node's log has to name.
const REASON: &str = "Input/output error";

/// See the file's head. Needs strace.
#[derive(Clone, Debug)]
pub struct SyncError {
    victim: Victim,
}

impl SyncError {
    /// Of this node.
    #[must_use]
    pub fn of(victim: Victim) -> Self {
        Self { victim }
    }
}

impl Fault for SyncError {
    fn name(&self) -> &'static str {
        "sync-error"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        let node = cluster.node_mut(victim);
        let injection = node.inject(Sync::Fails)?;
        let status = node.wait_end(END_DEADLINE).context("its syncs fail")?;
        drop(injection);
        let said = node.log_tail();
        ensure!(
            !status.success(),
            "node {victim} ended with {status} though syncs failed:\n{said}"
        );
        ensure!(said.contains(REASON), "node {victim} does not say why it ended:\n{said}");
        Ok(vec![victim])
    }
}
