//! Every node sends no more than so many bits a second, and what does not fit waits and is then lost.

use std::time::Duration;

use anyhow::Result;

use super::{Fault, each_node};
use crate::cluster::{Cluster, Hindrance, NodeId};

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth {
    kbit: u32,
}

impl Bandwidth {
    /// Of so many kilobits per second.
    #[must_use]
    pub fn of(kbit: u32) -> Self {
        Self { kbit }
    }
}

impl Fault for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn write_gap_max(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        each_node(cluster, |network, id| network.hinder(id, Hindrance::Rate(self.kbit)))
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        each_node(cluster, |network, id| network.unhinder(id)).map(drop)
    }
}
