//! Every node loses a share of the packets that it sends and that it is sent.

use std::time::Duration;

use anyhow::Result;

use super::{Fault, each_node};
use crate::cluster::{Cluster, Hindrance, NodeId};

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Clone, Copy, Debug)]
pub struct PacketLoss {
    percent: u32,
}

impl PacketLoss {
    /// So many of 100, at both ends of a cable.
    #[must_use]
    pub fn of(percent: u32) -> Self {
        Self { percent }
    }
}

impl Fault for PacketLoss {
    fn name(&self) -> &'static str {
        "packet-loss"
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn write_gap_max(&self) -> Duration {
        // TCP sends again after 200 ms, then 400, then 800; nodes and clients give up in between.
        Duration::from_secs(10)
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        each_node(cluster, |network, id| network.hinder(id, Hindrance::Loss(self.percent)))
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        each_node(cluster, |network, id| network.unhinder(id)).map(drop)
    }
}
