//! SIGTERM of every node and its return, one after the other.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Fault, START_DEADLINE, STOP_DEADLINE};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub struct RollingRestart;

impl Fault for RollingRestart {
    fn name(&self) -> &'static str {
        "rolling-restart"
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn write_gap_max(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let ids: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id).collect();
        for id in &ids {
            let status = cluster.node_mut(*id).terminate(STOP_DEADLINE)?;
            ensure!(status.success(), "node {id} ended with {status}");
            cluster.node_mut(*id).start()?;
            cluster.wait_ready(START_DEADLINE)?;
        }
        Ok(ids)
    }
}
