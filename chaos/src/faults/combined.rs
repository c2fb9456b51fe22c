//! Several faults at once.

use std::time::Duration;

use anyhow::Result;

use super::Fault;
use crate::cluster::{Cluster, NodeId};

/// See the file's head. Who combines them sees to it that a majority survives them together if it survives
/// each.
pub struct Combined {
    name: &'static str,
    faults: Vec<Box<dyn Fault>>,
}

impl Combined {
    /// Begun in this order, healed in the other.
    #[must_use]
    pub fn of(name: &'static str, faults: Vec<Box<dyn Fault>>) -> Self {
        Self { name, faults }
    }
}

impl Fault for Combined {
    fn name(&self) -> &'static str {
        self.name
    }

    fn majority_survives(&self) -> bool {
        self.faults.iter().all(|fault| fault.majority_survives())
    }

    fn nodes_may_lead(&self) -> bool {
        self.faults.iter().any(|fault| fault.nodes_may_lead())
    }

    fn write_gap_max(&self) -> Duration {
        self.faults.iter().map(|fault| fault.write_gap_max()).sum()
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let mut hit = Vec::new();
        for fault in &mut self.faults {
            hit.extend(fault.begin(cluster)?);
        }
        hit.sort_unstable();
        hit.dedup();
        Ok(hit)
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        self.faults.iter_mut().rev().try_for_each(|fault| fault.heal(cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{KillAll, KillLeader, PacketLoss};

    #[test]
    fn it_promises_what_all_of_them_promise_together() {
        let together = |other: Box<dyn Fault>| {
            let faults = Combined::of("both", vec![Box::new(PacketLoss::of(5)), other]);
            (faults.majority_survives(), faults.nodes_may_lead(), faults.write_gap_max().as_secs())
        };
        assert_eq!(together(Box::new(KillLeader::of("t"))), (true, true, 15));
        assert_eq!(together(Box::new(KillAll)), (false, true, 15));
    }
}
