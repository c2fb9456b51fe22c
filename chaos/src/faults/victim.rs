//! Which node a fault hits, found when it begins.

use anyhow::{Context, Result};

use super::LEADERS_DEADLINE;
use crate::cluster::{Cluster, NodeId, PartitionView, busiest_leader};

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The node that leads most partitions of a topic.
    Leader(String),
    /// A node that leads as few partitions of a topic as any, and not the metadata if that can be helped.
    Follower(String),
    /// This one.
    Node(NodeId),
}

impl Victim {
    /// The node.
    ///
    /// # Errors
    /// The topic's partitions have no leaders in time.
    pub fn find(&self, cluster: &Cluster) -> Result<NodeId> {
        match self {
            Self::Leader(topic) => {
                let partitions = cluster.wait_led(topic, LEADERS_DEADLINE)?;
                busiest_leader(&partitions).context("no partition has a leader")
            }
            Self::Follower(topic) => {
                let partitions = cluster.wait_led(topic, LEADERS_DEADLINE)?;
                let nodes: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id).collect();
                idlest(&nodes, &partitions, cluster.view()?.metadata.leader)
            }
            Self::Node(id) => Ok(*id),
        }
    }
}

fn idlest(
    nodes: &[NodeId],
    partitions: &[PartitionView],
    controller: Option<NodeId>,
) -> Result<NodeId> {
    let led = |id: NodeId| partitions.iter().filter(|one| one.leader == Some(id)).count();
    let order = |id: &&NodeId| (controller == Some(**id), led(**id));
    nodes.iter().min_by_key(order).copied().context("a cluster without nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_leads_least_and_not_the_metadata() {
        let leaders = [1, 1, 2, 3, 3].map(Some);
        let partitions = leaders.map(|leader| PartitionView { leader, ..PartitionView::default() });
        assert_eq!(idlest(&[1, 2, 3], &partitions, Some(1)).unwrap(), 2);
        assert_eq!(idlest(&[1, 2, 3], &partitions, Some(2)).unwrap(), 1);
    }
}
