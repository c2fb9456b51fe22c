//! No node hears another: none can be elected, and none may lead.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::{Fault, SILENCE_MAX, heal_wires};
use crate::cluster::{Cluster, NodeId, Wire};

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Clone, Copy, Debug)]
pub struct CutAll;

impl Fault for CutAll {
    fn name(&self) -> &'static str {
        "cut-all"
    }

    fn majority_survives(&self) -> bool {
        false
    }

    fn write_gap_max(&self) -> Duration {
        SILENCE_MAX
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let ids: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id).collect();
        let pairs = ids.iter().flat_map(|from| ids.iter().map(|to| (*from, *to)));
        let apart = pairs.filter(|(from, to)| from != to);
        let wires: BTreeSet<Wire> = apart.map(|(from, to)| Wire { from, to }).collect();
        cluster.network()?.cut(&wires)?;
        Ok(ids)
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        heal_wires(cluster)
    }
}
