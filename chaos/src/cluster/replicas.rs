//! Whether the nodes of a cluster hold the same: first by their views, then by their bytes.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::verify::disagreements;
use super::{Cluster, ClusterView, NodeId, VerifiedPartition, verify_data_dir};

/// Between two comparisons.
const POLL: Duration = Duration::from_millis(50);
/// From SIGTERM to the end of the process.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

impl Cluster {
    /// Waits until every replica of `topic` ends where the others do with everything committed,
    /// and every node has applied the same metadata; gives the time waited.
    ///
    /// # Errors
    /// A node does not answer, or the deadline passes: with what differs.
    pub fn wait_caught_up(&self, topic: &str, deadline: Duration) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            let difference = match self.views() {
                Ok(views) => difference(topic, &views),
                Err(error) => Some(format!("{error:#}")),
            };
            let Some(difference) = difference else { return Ok(begin.elapsed()) };
            if begin.elapsed() > deadline {
                bail!("the replicas did not catch up within {deadline:?}: {difference}");
            }
            thread::sleep(POLL);
        }
    }

    fn views(&self) -> Result<Vec<ClusterView>> {
        self.nodes().iter().map(super::Node::view).collect()
    }

    /// Stops every node and compares what `jackdaw log verify` says of their data folders.
    ///
    /// # Errors
    /// A node does not stop, a folder has a fault, or replicas differ.
    pub fn stop_and_compare(
        &mut self,
        topic: &str,
    ) -> Result<BTreeMap<NodeId, Vec<VerifiedPartition>>> {
        let found = self.stop_and_verify(topic)?;
        let differ = disagreements(&found);
        ensure!(differ.is_empty(), "replicas differ:\n  {}", differ.join("\n  "));
        Ok(found)
    }

    /// Stops every node; gives what `jackdaw log verify` says of their data folders.
    ///
    /// # Errors
    /// A node does not stop, a folder has a fault, or none holds the topic.
    pub fn stop_and_verify(
        &mut self,
        topic: &str,
    ) -> Result<BTreeMap<NodeId, Vec<VerifiedPartition>>> {
        self.stop_all(STOP_DEADLINE)?;
        let mut found = BTreeMap::new();
        for node in self.nodes() {
            found.insert(node.id, verify_data_dir(&node.binary, &node.data_dir())?);
        }
        let of_topic = |one: &&VerifiedPartition| one.topic.as_deref() == Some(topic);
        let held: usize = found.values().map(|node| node.iter().filter(of_topic).count()).sum();
        // Comparing nothing would look like agreement.
        ensure!(held > 0, "log verify found no partition of topic {topic}");
        Ok(found)
    }
}

fn difference(topic: &str, views: &[ClusterView]) -> Option<String> {
    let first = views.first()?;
    if let Some(other) =
        views.iter().find(|view| view.metadata.applied_index != first.metadata.applied_index)
    {
        return Some(format!(
            "metadata is applied up to {} on node {} and {} on node {}",
            first.metadata.applied_index, first.node, other.metadata.applied_index, other.node
        ));
    }
    let partitions = first.partitions(topic);
    if partitions.is_empty() {
        return Some(format!("topic {topic} is not there"));
    }
    for partition in partitions {
        let mut ends = BTreeMap::new();
        for node in &partition.replicas {
            let view = views.iter().find(|view| view.node == *node);
            let replica = view.and_then(|view| {
                let mut replicas = view.replicas.iter();
                replicas.find(|one| one.topic == topic && one.partition == partition.partition)
            });
            let Some(replica) = replica else {
                return Some(format!("node {node} lacks {topic}-{}", partition.partition));
            };
            let end = (
                replica.log_end_offset,
                replica.high_watermark,
                replica.last_index,
                replica.committed_index,
                replica.log_start_offset,
            );
            if end.0 != end.1 || end.2 != end.3 {
                return Some(format!(
                    "{topic}-{} on node {node} ends at {} of which {} are committed",
                    partition.partition, end.0, end.1
                ));
            }
            ends.insert(end, *node);
        }
        if ends.len() > 1 {
            return Some(format!("{topic}-{} ends differ: {ends:?}", partition.partition));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{MetadataView, PartitionView, ReplicaView, TopicView};
    use super::*;

    fn view(node: NodeId, end: i64, high: i64) -> ClusterView {
        let partition =
            PartitionView { partition: 0, leader: Some(1), term: 1, replicas: vec![1, 2] };
        ClusterView {
            node,
            metadata: MetadataView { leader: Some(1), applied_index: 9 },
            topics: vec![TopicView {
                name: "t".into(),
                id: "0".into(),
                partitions: vec![partition],
            }],
            replicas: vec![ReplicaView {
                topic: "t".into(),
                partition: 0,
                log_start_offset: 0,
                log_end_offset: end,
                high_watermark: high,
                last_index: end as u64,
                committed_index: high as u64,
            }],
            ..ClusterView::default()
        }
    }

    #[test]
    fn replicas_with_the_same_end_have_caught_up() {
        assert_eq!(difference("t", &[view(1, 5, 5), view(2, 5, 5)]), None);
    }

    #[test]
    fn a_replica_behind_is_named() {
        let behind = difference("t", &[view(1, 5, 5), view(2, 4, 4)]).unwrap();
        assert!(behind.contains("t-0 ends differ"), "{behind}");
        let open = difference("t", &[view(1, 5, 5), view(2, 5, 4)]).unwrap();
        assert!(open.contains("node 2 ends at 5 of which 4"), "{open}");
        let absent = difference("t", &[view(1, 5, 5)]).unwrap();
        assert!(absent.contains("node 2 lacks t-0"), "{absent}");
        let mut late = view(2, 5, 5);
        late.metadata.applied_index = 8;
        assert!(difference("t", &[view(1, 5, 5), late]).unwrap().contains("up to 9 on node 1"));
    }
}
