//! SIGTERM of one node, which hands over what it leads, and its return.

use anyhow::{Result, ensure};

use super::{Fault, LEADERS_DEADLINE};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    node: NodeId,
}

impl Restart {
    /// Of `node`.
    #[must_use]
    pub fn of(node: NodeId) -> Self {
        Self { node }
    }
}

impl Fault for Restart {
    fn name(&self) -> &'static str {
        "restart"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let status = cluster.node_mut(self.node).terminate(LEADERS_DEADLINE)?;
        ensure!(status.success(), "node {} ended with {status}", self.node);
        Ok(vec![self.node])
    }
}
