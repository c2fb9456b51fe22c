//! A node is cut off from all others in one direction or both; clients still reach it, so that it can
//! say what it believes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::{Fault, SILENCE_MAX, Victim, heal_wires};
use crate::cluster::{Cluster, NodeId, Wire};

/// What is cut, seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What it sends.
    Outgoing,
    /// What is sent to it.
    Incoming,
    /// Both.
    Both,
}

/// See the file's head. The cluster's nodes need hosts of their own.
#[derive(Clone, Debug)]
pub struct CutOff {
    victim: Victim,
    direction: Direction,
}

impl CutOff {
    /// Cuts `victim` off.
    #[must_use]
    pub fn of(victim: Victim, direction: Direction) -> Self {
        Self { victim, direction }
    }
}

impl Direction {
    fn wires(self, node: NodeId, nodes: impl Iterator<Item = NodeId>) -> BTreeSet<Wire> {
        let others = nodes.filter(|other| *other != node);
        others
            .flat_map(|other| {
                let outgoing = Wire { from: node, to: other };
                let incoming = Wire { from: other, to: node };
                match self {
                    Self::Outgoing => vec![outgoing],
                    Self::Incoming => vec![incoming],
                    Self::Both => vec![outgoing, incoming],
                }
            })
            .collect()
    }
}

impl Fault for CutOff {
    fn name(&self) -> &'static str {
        match self.direction {
            Direction::Outgoing => "cut-outgoing",
            Direction::Incoming => "cut-incoming",
            Direction::Both => "cut-off",
        }
    }

    fn write_gap_max(&self) -> Duration {
        SILENCE_MAX
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.victim.find(cluster)?;
        let wires = self.direction.wires(victim, cluster.nodes().iter().map(|node| node.id));
        cluster.network()?.cut(&wires)?;
        Ok(vec![victim])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        heal_wires(cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_the_node_s() {
        let wires = |direction: Direction| {
            let wires = direction.wires(2, 1..=3);
            wires.into_iter().map(|wire| (wire.from, wire.to)).collect::<Vec<_>>()
        };
        assert_eq!(wires(Direction::Outgoing), [(2, 1), (2, 3)]);
        assert_eq!(wires(Direction::Incoming), [(1, 2), (3, 2)]);
        assert_eq!(wires(Direction::Both), [(1, 2), (2, 1), (2, 3), (3, 2)]);
    }
}
