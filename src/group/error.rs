//! Why a group request is refused.
//!
//! **Invariant:** every refusal has the code that Kafka's `GroupCoordinatorService` answers in the
//! same situation, since clients decide by it whether to rejoin, retry or give up.

use super::StoreError;

/// A refusal; [`GroupError::code`] is its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A deleted or nameless topic, or a partition that it does not have.
    #[error("the topic or partition does not exist")]
    UnknownTopicOrPartition,
    /// The text beside a committed offset is too long.
    #[error("the commit's metadata is longer than offset.metadata.max.bytes")]
    OffsetMetadataTooLarge,
    /// This node is taking the groups over and will know them shortly.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoadInProgress,
    /// The groups cannot be written just now; the outcome of a write may be unknown.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// Another node coordinates.
    #[error("this node is not the coordinator")]
    NotCoordinator,
    /// The member's generation is not the group's.
    #[error("the generation is not the group's current one")]
    IllegalGeneration,
    /// Protocol type or protocols do not fit the group's.
    #[error("the member's protocols do not fit the group's")]
    InconsistentGroupProtocol,
    /// An empty or overlong group id.
    #[error("the group id is invalid")]
    InvalidGroupId,
    /// The group has no such member.
    #[error("the member is not known to the group")]
    UnknownMemberId,
    /// Outside `group.min.session.timeout.ms`..=`group.max.session.timeout.ms`.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The member has to rejoin.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// A field that no client of Kafka's sends.
    #[error("the request is malformed")]
    InvalidRequest,
    /// The cluster's bound on the number of groups is reached.
    #[error("the cluster holds as many groups as it may")]
    TooManyGroups,
    /// No such group.
    #[error("the group does not exist")]
    GroupIdNotFound,
    /// The member shall join again with the id that the refusal carries (KIP-394).
    #[error("the member has to join again with the id it was given")]
    MemberIdRequired,
    /// `group.max.size` members, or as many bytes of metadata as a group may hold.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// Another process joined with the same group instance id (KIP-345).
    #[error("the group instance id is in use by another member")]
    FencedInstanceId,
    /// No topic has this id (KIP-516).
    #[error("the topic id does not exist")]
    UnknownTopicId,
    /// The leader's assignments do not fit a record.
    #[error("the assignments are larger than a group may hold")]
    AssignmentTooLarge,
}

impl GroupError {
    /// Kafka's error code (`org.apache.kafka.common.protocol.Errors`).
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::AssignmentTooLarge => -1,
            Self::UnknownTopicOrPartition => 3,
            Self::OffsetMetadataTooLarge => 12,
            Self::CoordinatorLoadInProgress => 14,
            Self::CoordinatorNotAvailable => 15,
            Self::NotCoordinator => 16,
            Self::IllegalGeneration => 22,
            Self::InconsistentGroupProtocol => 23,
            Self::InvalidGroupId => 24,
            Self::UnknownMemberId => 25,
            Self::InvalidSessionTimeout => 26,
            Self::RebalanceInProgress => 27,
            Self::InvalidRequest => 42,
            Self::TooManyGroups => 44,
            Self::GroupIdNotFound => 69,
            Self::MemberIdRequired => 79,
            Self::GroupMaxSizeReached => 81,
            Self::FencedInstanceId => 82,
            Self::UnknownTopicId => 100,
        }
    }

    /// The code of an outcome: 0 for `Ok`.
    #[must_use]
    pub fn code_of<T>(outcome: &Result<T, Self>) -> i16 {
        outcome.as_ref().err().map_or(0, |error| error.code())
    }
}

impl From<StoreError> for GroupError {
    /// An unknown outcome is answered like an outage: what groups write is idempotent, and both
    /// make the client look the coordinator up and try again.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotCoordinator => Self::NotCoordinator,
            StoreError::Unavailable | StoreError::Uncertain => Self::CoordinatorNotAvailable,
        }
    }
}
