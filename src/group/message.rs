//! Requests and answers of the classic group protocol, free of Kafka's encoding.
//!
//! **Invariant:** strings and bytes here are owned copies: a slice of a request frame kept in a
//! group would hold the whole frame in memory for as long as the member lives.

use std::sync::Arc;

use bytes::Bytes;

use super::{GroupError, GroupState};
use crate::model::{LeaderEpoch, Offset, TopicPartition};

/// JoinGroup.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Empty if the client has no id yet.
    pub member_id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The id that the member gets if it has none; drawn outside so that groups stay pure.
    pub fresh_id: Arc<str>,
    /// From the request header.
    pub client_id: Arc<str>,
    /// The peer's address, as Kafka shows it ("/127.0.0.1").
    pub client_host: Arc<str>,
    /// Milliseconds.
    pub session_timeout_ms: i32,
    /// Milliseconds; version 0 has none and uses the session timeout.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", …
    pub protocol_type: Arc<str>,
    /// Protocol names with the member's metadata, preferred first.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// v4+: a dynamic member has to come back with the id it is given (KIP-394).
    pub requires_known_id: bool,
    /// v9+: a static leader can be told not to assign (KIP-814).
    pub can_skip_assignment: bool,
}

/// What a member learns about its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The receiver's id.
    pub member_id: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The selected protocol.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// Whether a leader shall leave the assignment as it is.
    pub skip_assignment: bool,
    /// All members, for the leader only.
    pub members: Vec<JoinMember>,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinMember {
    /// Member id.
    pub id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Metadata under the selected protocol.
    pub metadata: Bytes,
}

/// A refused join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefusal {
    /// Why.
    pub error: GroupError,
    /// The id to come back with, or as it came.
    pub member_id: Arc<str>,
}

/// Who a request claims to come from.
#[derive(Clone, Debug)]
pub struct MemberClaim {
    /// Member id, may be empty.
    pub member_id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation it believes in; negative for none.
    pub generation: i32,
}

/// SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// The member.
    pub claim: MemberClaim,
    /// v5+.
    pub protocol_type: Option<Arc<str>>,
    /// v5+.
    pub protocol: Option<Arc<str>>,
    /// Member id → its share; of the leader only.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// A member's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The selected protocol.
    pub protocol: Option<Arc<str>>,
    /// The share as the leader encoded it.
    pub assignment: Bytes,
}

/// One member of a LeaveGroup.
#[derive(Clone, Debug)]
pub struct LeaveMember {
    /// May be empty if the instance id is given.
    pub member_id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
}

/// OffsetCommit of one group.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The member; generation −1 and no ids for a commit without membership.
    pub claim: MemberClaim,
    /// v9+: an unknown group is [`GroupError::GroupIdNotFound`] instead of an illegal generation.
    pub names_unknown_group: bool,
    /// The positions.
    pub items: Vec<CommitItem>,
}

/// One position to commit.
#[derive(Clone, Debug)]
pub struct CommitItem {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// The next offset to consume.
    pub offset: Offset,
    /// −1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's text.
    pub metadata: Arc<str>,
}

/// A group in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// The id.
    pub group: Arc<str>,
    /// Empty for a group without members' protocol.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: GroupState,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Id, protocol type, state.
    pub listing: GroupListing,
    /// The current generation.
    pub generation: i32,
    /// The selected protocol; empty unless stable.
    pub protocol: Arc<str>,
    /// The members.
    pub members: Vec<MemberSummary>,
}

/// A member in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSummary {
    /// Member id.
    pub id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Address.
    pub client_host: Arc<str>,
    /// Metadata under the selected protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its share; empty unless the group is stable.
    pub assignment: Bytes,
}
