//! Two nodes do not hear one another, while both hear all others.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::{Fault, SILENCE_MAX, heal_wires};
use crate::cluster::{Cluster, NodeId, Wire};

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Clone, Copy, Debug)]
pub struct CutPair {
    one: NodeId,
    other: NodeId,
}

impl CutPair {
    /// Cuts the way between `one` and `other`.
    #[must_use]
    pub fn of(one: NodeId, other: NodeId) -> Self {
        Self { one, other }
    }
}

impl Fault for CutPair {
    fn name(&self) -> &'static str {
        "cut-pair"
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn write_gap_max(&self) -> Duration {
        SILENCE_MAX
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let there = Wire { from: self.one, to: self.other };
        let back = Wire { from: self.other, to: self.one };
        cluster.network()?.cut(&BTreeSet::from([there, back]))?;
        Ok(vec![self.one, self.other])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        heal_wires(cluster)
    }
}
