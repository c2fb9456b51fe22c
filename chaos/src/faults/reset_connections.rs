//! Every connection of every node is reset, again and again: records and acknowledgements on their way are
//! lost, and all that is asked for has to be asked for once more.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Fault, each_node};
use crate::cluster::{Cluster, NodeId};

const TIMES: usize = 8;
/// Between two: long enough to connect anew and send.
const PAUSE: Duration = Duration::from_millis(300);

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Clone, Copy, Debug)]
pub struct ResetConnections;

impl Fault for ResetConnections {
    fn name(&self) -> &'static str {
        "reset-connections"
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn write_gap_max(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let mut hit = Vec::new();
        for _ in 0..TIMES {
            hit = each_node(cluster, |network, id| network.reset_connections(id))?;
            thread::sleep(PAUSE);
        }
        Ok(hit)
    }

    fn heal(&mut self, _cluster: &mut Cluster) -> Result<()> {
        Ok(())
    }
}
