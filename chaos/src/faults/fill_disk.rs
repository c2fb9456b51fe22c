//! Every node's disk fills up, to within the reserve that Jackdaw keeps.

use std::time::Duration;

use anyhow::Result;

use super::Fault;
use crate::cluster::{Cluster, NodeId};

/// Space left for records: less than the reserve (a twentieth), enough for what may go on.
const LEFT_SHARE: u64 = 30;
/// Until every node says that its disk is full.
const FULL_DEADLINE: Duration = Duration::from_secs(30);

/// See the file's head. The cluster's nodes need volumes of their own.
#[derive(Debug)]
pub struct FillDisk;

impl Fault for FillDisk {
    fn name(&self) -> &'static str {
        "fill-disk"
    }

    fn majority_survives(&self) -> bool {
        false
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let ids: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id).collect();
        for id in &ids {
            cluster.node(*id).fill_volume(LEFT_SHARE)?;
        }
        for id in &ids {
            cluster.node(*id).wait_metric("jackdaw_disk_full 1", FULL_DEADLINE)?;
        }
        Ok(ids)
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        for node in cluster.nodes() {
            node.empty_volume()?;
            node.wait_metric("jackdaw_disk_full 0", FULL_DEADLINE)?;
        }
        Ok(())
    }
}
