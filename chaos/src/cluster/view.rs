//! What `GET /api/v1/cluster` says, as far as chaos needs it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::NodeId;

/// The cluster as one node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ClusterView {
    /// The node that answered.
    pub node: NodeId,
    /// The metadata group.
    pub metadata: MetadataView,
    /// The registered nodes.
    pub nodes: Vec<NodeView>,
    /// The topics.
    pub topics: Vec<TopicView>,
    /// The answering node's own replicas.
    pub replicas: Vec<ReplicaView>,
}

/// The metadata group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct MetadataView {
    /// Its leader.
    pub leader: Option<NodeId>,
    /// Raft index up to which the answering node has applied.
    pub applied_index: u64,
}

/// A registered node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Whether the answering node hears from it.
    pub alive: bool,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its partitions.
    pub partitions: Vec<PartitionView>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PartitionView {
    /// Its index.
    pub partition: i32,
    /// The node that leads it.
    pub leader: Option<NodeId>,
    /// The term of that leadership.
    pub term: u64,
    /// Nodes that hold a replica.
    pub replicas: Vec<NodeId>,
}

/// A replica on the answering node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ReplicaView {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// First offset served there.
    pub log_start_offset: i64,
    /// Offset after the last record there.
    pub log_end_offset: i64,
    /// Offset after the last committed record known there.
    pub high_watermark: i64,
    /// Raft index of the last entry there.
    pub last_index: u64,
    /// Raft index of the last entry known there to be committed.
    pub committed_index: u64,
}

impl ClusterView {
    /// The partitions of `topic`, none if it is not there.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> &[PartitionView] {
        let found = self.topics.iter().find(|known| known.name == topic);
        found.map_or(&[], |topic| topic.partitions.as_slice())
    }
}

/// The node that leads most of these partitions, the lowest id among equals.
#[must_use]
pub fn busiest_leader(partitions: &[PartitionView]) -> Option<NodeId> {
    let mut led = BTreeMap::<NodeId, usize>::new();
    for leader in partitions.iter().filter_map(|partition| partition.leader) {
        *led.entry(leader).or_default() += 1;
    }
    let most = led.values().copied().max()?;
    led.into_iter().find(|(_, count)| *count == most).map(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_by(leader: Option<NodeId>) -> PartitionView {
        PartitionView { leader, ..PartitionView::default() }
    }

    #[test]
    fn the_busiest_leader_leads_most() {
        let partitions = [3, 2, 3, 2, 1].map(|node| led_by(Some(node)));
        assert_eq!(busiest_leader(&partitions), Some(2));
        assert_eq!(busiest_leader(&[led_by(None), led_by(Some(1))]), Some(1));
        assert_eq!(busiest_leader(&[led_by(None)]), None);
    }

    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        let text = r#"{"cluster":"c","node":1,"version":"0","metadata":{"leader":null,"term":1,
            "voters":[1],"last_index":1,"applied_index":7},"nodes":[],"topics":[{"name":"t",
            "id":"0","configs":{},"partitions":[{"partition":0,"leader":1,"term":1,
            "replicas":[1]}]}],"replicas":[]}"#;
        let view: ClusterView = serde_json::from_str(text).unwrap();
        assert_eq!(view.metadata.applied_index, 7);
        assert_eq!(view.partitions("t").len(), 1);
        assert!(view.partitions("u").is_empty());
    }
}
