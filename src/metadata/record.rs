//! The nouns of the replicated state: broker registrations, topics, groups, committed offsets.
//!
//! **Invariant:** plain data. Field order is part of the postcard encoding (golden tests in
//! `command` and `state`); a change of any of these structs needs a new encoding version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

/// A broker as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRegistration {
    /// The broker's id, which is also its Raft node id.
    pub id: BrokerId,
    /// Host that Kafka clients are told to connect to.
    pub host: String,
    /// Port that Kafka clients are told to connect to.
    pub port: u16,
    /// Host and port of the admin HTTP endpoint, if it serves one.
    pub admin: Option<(String, u16)>,
    /// Rack or zone (`broker.rack`), if set.
    pub rack: Option<String>,
    /// Drawn at random by each start of the process, so that a restart is told from a retry.
    pub incarnation: u128,
}

/// A topic as the controller has placed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Unique name.
    pub name: String,
    /// Chosen by the controller, so that applying the command is deterministic.
    pub id: TopicId,
    /// Replicas of each partition; the first of each is the preferred leader.
    pub partitions: Vec<Vec<BrokerId>>,
    /// Configs set on the topic itself.
    pub configs: BTreeMap<String, String>,
}

/// What dynamic configs are set on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigResource {
    /// A topic.
    Topic(TopicId),
    /// One broker.
    Broker(BrokerId),
    /// All brokers: Kafka's broker resource with an empty name.
    Cluster,
}

/// A member of a classic consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The id that the coordinator gave it.
    pub id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// The client's `client.id`.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// How long it may go without a heartbeat, in ms.
    pub session_timeout_ms: i32,
    /// How long it may take to rejoin, in ms.
    pub rebalance_timeout_ms: i32,
    /// Its metadata under the chosen protocol.
    pub subscription: Vec<u8>,
    /// The assignment that the group's leader gave it; empty before.
    pub assignment: Vec<u8>,
}

/// A consumer group, as much of it as must survive its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The group's id.
    pub group: String,
    /// For example `consumer`; none before somebody has joined.
    pub protocol_type: Option<String>,
    /// The generation that the record describes.
    pub generation: i32,
    /// The chosen protocol, if the group has one.
    pub protocol: Option<String>,
    /// Member id of the leader, if the group has one.
    pub leader: Option<String>,
    /// Whether the leader's assignments are in it.
    pub assigned: bool,
    /// When the group entered its state.
    pub state_since: Timestamp,
    /// Members in joining order.
    pub members: Vec<MemberRecord>,
}

/// A group record as stored: with the count of its writes, the token of optimistic updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGroup {
    /// 1 for the first record of a group, one more with each further one.
    pub version: u64,
    /// The record.
    pub record: GroupRecord,
}

/// A committed offset of a group in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The next offset to consume.
    pub offset: Offset,
    /// Leader epoch of the last consumed record; −1 if the client gave none.
    pub leader_epoch: LeaderEpoch,
    /// The client's own words, returned with the offset.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// Key of a committed offset within its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OffsetKey {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
}

/// One offset to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommit {
    /// The topic's name.
    pub topic: String,
    /// The id under which the committer knows the topic; [`TopicId::ZERO`] takes any of that name.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// What to store.
    pub committed: CommittedOffset,
}

/// The offsets that one commit request of one group sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCommit {
    /// The group.
    pub group: String,
    /// What it commits.
    pub offsets: Vec<OffsetCommit>,
}
