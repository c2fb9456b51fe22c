//! What the store keeps of groups: one record per group, one entry per committed offset.
//!
//! **Invariant:** a record describes one generation completely, so that a new coordinator goes on
//! from it without asking any member.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{LeaderEpoch, Offset, Timestamp, TopicPartition};

/// One generation of one group (Kafka's `GroupMetadataValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// The group's id.
    pub group: Arc<str>,
    /// "consumer", "connect", …; `None` for a group that never had members.
    pub protocol_type: Option<Arc<str>>,
    /// The generation that the record describes.
    pub generation: i32,
    /// The selected protocol, `None` without members.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id, `None` without members.
    pub leader: Option<Arc<str>>,
    /// Whether the leader's assignments are in it. A generation is written twice: when it begins
    /// (so that its number is never given out again) and when it is assigned.
    pub assigned: bool,
    /// When the group entered its state, for the retention of an empty group's offsets.
    pub state_since: Timestamp,
    /// The members, in the order in which they joined.
    pub members: Vec<MemberRecord>,
}

/// One member of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Member id.
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// `client.id` of its last join.
    pub client_id: Arc<str>,
    /// Address of its last join.
    pub client_host: Arc<str>,
    /// Milliseconds.
    pub session_timeout_ms: i32,
    /// Milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Its metadata under the selected protocol.
    pub subscription: Bytes,
    /// Its share; empty before the leader has assigned.
    pub assignment: Bytes,
}

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to consume.
    pub offset: Offset,
    /// Leader epoch of the last consumed record, −1 if unknown (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// The client's text.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// A committed position and what it belongs to within its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// The position.
    pub committed: CommittedOffset,
}

/// One group's part of a batch of commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The group's id.
    pub group: Arc<str>,
    /// Its new positions.
    pub offsets: Vec<OffsetEntry>,
}
