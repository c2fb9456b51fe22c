//! Every sync of a node takes long, as on a disk that is about to fail.

use std::time::Duration;

use anyhow::Result;

use super::{Fault, Victim};
use crate::cluster::{Cluster, Injection, NodeId, Sync};

/// See the file's head. Needs strace.
#[derive(Debug)]
pub struct SyncDelay {
    victim: Victim,
    delay: Duration,
    injection: Option<Injection>,
}

impl SyncDelay {
    /// Of this node, by so much.
    #[must_use]
    pub fn of(victim: Victim, delay: Duration) -> Self {
        Self { victim, delay, injection: None }
    }
}

impl Fault for SyncDelay {
    fn name(&self) -> &'static str {
        "sync-delay"
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn write_gap_max(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        self.injection = Some(cluster.node(victim).inject(Sync::Waits(self.delay))?);
        Ok(vec![victim])
    }

    fn heal(&mut self, _cluster: &mut Cluster) -> Result<()> {
        self.injection = None;
        Ok(())
    }
}
