//! The JSON shapes of `/api/v1`, which the command line reads too.
//!
//! **Invariant:** fields are only ever added; a reader ignores those that it does not know.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metrics::ReplicaSample;

/// `GET /api/v1/cluster`: the cluster as one node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster: String,
    /// The node that answers.
    pub node: i32,
    /// Its version.
    pub version: String,
    /// The metadata group.
    pub metadata: MetadataView,
    /// The registered nodes, by id.
    pub nodes: Vec<NodeView>,
    /// The topics, by name.
    pub topics: Vec<TopicView>,
    /// The answering node's own replicas, by topic and partition.
    pub replicas: Vec<ReplicaView>,
    /// Those of them that are out, damaged or being refilled, by topic and partition.
    #[serde(default)]
    pub quarantined: Vec<QuarantineView>,
}

/// The metadata group as the answering node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataView {
    /// Its leader, which is the controller and the group coordinator.
    pub leader: Option<i32>,
    /// Its Raft term.
    pub term: u64,
    /// Its voters.
    pub voters: Vec<i32>,
    /// Raft index of the last entry in the answering node's log.
    pub last_index: u64,
    /// Raft index up to which the answering node has applied.
    pub applied_index: u64,
}

/// A registered node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: i32,
    /// `host:port` for Kafka clients.
    pub kafka: String,
    /// `host:port` of its HTTP endpoint, if it told one.
    pub admin: Option<String>,
    /// Whether the answering node hears from it.
    pub alive: bool,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionView>,
    /// Settings that differ from the defaults.
    pub configs: BTreeMap<String, String>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionView {
    /// Its index.
    pub partition: i32,
    /// The node that leads it, if one does.
    pub leader: Option<i32>,
    /// The Raft term of that leadership, Kafka's leader epoch.
    pub term: u64,
    /// Nodes that hold a replica, the preferred leader first.
    pub replicas: Vec<i32>,
}

/// A replica on the answering node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// Whether the answering node leads it.
    pub is_leader: bool,
    /// Raft term.
    pub term: u64,
    /// First offset there.
    pub log_start_offset: i64,
    /// Offset after the last record there.
    pub log_end_offset: i64,
    /// Offset after the last committed record known there.
    pub high_watermark: i64,
    /// Raft index of the last entry there.
    pub last_index: u64,
    /// Raft index of the last entry known there to be committed.
    pub committed_index: u64,
    /// Records that are not on the disk there yet, of a topic that does not wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsynced_records: Option<u64>,
}

/// A replica of the answering node that is not what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineView {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// How it fares.
    pub state: QuarantineState,
    /// What is wrong, a sentence.
    pub reason: String,
    /// Raft index up to which it has applied again.
    pub applied_index: Option<u64>,
    /// Raft index up to which it has to before it votes.
    pub end_index: Option<u64>,
}

/// How a replica fares that is not what it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineState {
    /// It does not run.
    #[default]
    Out,
    /// It runs, and cannot serve all of its records.
    Damaged,
    /// Its log is gone or set aside, and there is no leader to get it back from.
    Waiting,
    /// Its log is being got back.
    Refilling,
    /// It may have forgotten a vote, and has not heard from all other replicas yet.
    Unproven,
}

impl fmt::Display for QuarantineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "out",
            Self::Damaged => "damaged",
            Self::Waiting => "waiting for a leader",
            Self::Refilling => "being refilled",
            Self::Unproven => "without its votes",
        })
    }
}

impl fmt::Display for QuarantineView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, state, reason, .. } = self;
        write!(f, "the replica of {topic}-{partition} is {state}")?;
        if let Some(end) = self.end_index {
            write!(f, " ({} of {} entries)", self.applied_index.map_or(0, |at| at + 1), end + 1)?;
        }
        write!(f, ": {reason}")
    }
}

impl From<&ReplicaView> for ReplicaSample {
    fn from(view: &ReplicaView) -> Self {
        Self {
            topic: view.topic.clone(),
            partition: view.partition,
            is_leader: view.is_leader,
            term: view.term,
            log_start_offset: view.log_start_offset,
            log_end_offset: view.log_end_offset,
            high_watermark: view.high_watermark,
            unsynced_records: view.unsynced_records,
        }
    }
}

/// Body of `POST /api/v1/topics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; the node's default if absent.
    #[serde(default)]
    pub partitions: Option<i32>,
    /// Replicas of each; the node's default if absent.
    #[serde(default)]
    pub replication_factor: Option<i16>,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantined_replica_says_how_far_it_is() {
        let view = QuarantineView {
            topic: "orders".into(),
            partition: 2,
            state: QuarantineState::Refilling,
            reason: "a byte was flipped".into(),
            applied_index: Some(4),
            end_index: Some(9),
        };
        let text =
            "the replica of orders-2 is being refilled (5 of 10 entries): a byte was flipped";
        assert_eq!(view.to_string(), text);
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["state"], "refilling");
        let out = QuarantineView { state: QuarantineState::Out, end_index: None, ..view };
        assert_eq!(out.to_string(), "the replica of orders-2 is out: a byte was flipped");
    }
}
