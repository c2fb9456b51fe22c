//! What a Raft entry of the metadata group carries: one [`Command`] in an [`Envelope`].
//!
//! ```text
//! 0  encoding version  u8        1
//! 1  envelope          postcard  request id and fence (optional), command variant, its fields
//! ```
//!
//! **Invariant:** a command holds everything that its outcome depends on besides the state: no
//! clock, no random numbers, no placement in `apply`. New variants go to the end of the enum; a
//! change of an existing one needs a new encoding version (golden tests below).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::{
    BrokerRegistration, CommittedOffset, ConfigResource, GroupCommit, GroupRecord, NewTopic,
    OffsetKey,
};
use super::refusal::Refusal;
use crate::model::{BrokerId, ProducerId, TopicId};

/// First byte of every encoded command.
pub const ENCODING_VERSION: u8 = 1;

/// Names one request, so that a retry of it is applied once (`state::requests`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u128);

impl RequestId {
    /// A fresh random id.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

/// A change of the replicated state. Preconditions are checked again when it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Registers a broker or replaces its registration. Answers [`CommandReply::Done`].
    RegisterBroker(BrokerRegistration),
    /// Creates a placed topic. Answers [`CommandReply::Done`], refused if the name is taken.
    CreateTopic(NewTopic),
    /// Deletes a topic, its configs and the offsets committed in it.
    DeleteTopic {
        /// Which topic.
        id: TopicId,
    },
    /// Adds partitions. Refused with [`Refusal::Conflict`] unless the topic has `from` of them.
    CreatePartitions {
        /// Which topic.
        id: TopicId,
        /// How many partitions the planner saw.
        from: u32,
        /// Replicas of each added partition.
        partitions: Vec<Vec<BrokerId>>,
    },
    /// Sets (`Some`) or removes (`None`) dynamic configs.
    AlterConfigs {
        /// On what.
        resource: ConfigResource,
        /// By name.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Gives out the next block of producer ids (KIP-730). Answers
    /// [`CommandReply::ProducerIds`].
    AllocateProducerIds {
        /// Who asks; for the log's reader only.
        broker: BrokerId,
    },
    /// Writes a group's record. Answers [`CommandReply::GroupVersion`].
    PutGroup {
        /// The new record.
        record: GroupRecord,
        /// Refused with [`Refusal::StaleGroup`] unless the stored record is at this version (0:
        /// there is none). `None` where the envelope's fence is protection enough.
        expected: Option<u64>,
    },
    /// Deletes the record of a group without members.
    DeleteGroup {
        /// Which group.
        group: String,
        /// Refused with [`Refusal::StaleGroup`] unless the record is of this generation.
        generation: Option<i32>,
        /// Whether its offsets go with it; otherwise refused with [`Refusal::GroupNotEmpty`]
        /// while it has any.
        with_offsets: bool,
    },
    /// Commits offsets of any number of groups. Answers [`CommandReply::Offsets`].
    CommitOffsets(Vec<GroupCommit>),
    /// Deletes committed offsets; those that are not there are no error.
    DeleteOffsets {
        /// Of which group.
        group: String,
        /// In which partitions; with an offset, only if it is still that one.
        offsets: Vec<(OffsetKey, Option<CommittedOffset>)>,
    },
}

/// What applying a command answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandReply {
    /// Done, or already done by an earlier try of the same command.
    Done,
    /// Nothing was changed.
    Refused(Refusal),
    /// A block of producer ids, `count` of them from `first` on.
    ProducerIds {
        /// The first id.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// The version at which the group's record now is.
    GroupVersion(u64),
    /// Per group and offset in the command's order: whether it was stored. An offset is not
    /// stored if its topic or partition does not exist (any more).
    Offsets(Vec<Vec<bool>>),
}

impl CommandReply {
    /// The reply, or the refusal as an error.
    ///
    /// # Errors
    /// The [`Refusal`] of [`CommandReply::Refused`].
    pub fn accepted(self) -> Result<Self, Refusal> {
        match self {
            Self::Refused(refusal) => Err(refusal),
            reply => Ok(reply),
        }
    }
}

/// A command and the request that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Set where a retry could apply the command twice.
    pub request: Option<RequestId>,
    /// Refused with [`Refusal::Fenced`] unless the entry is of this term: so a leader's command
    /// counts only in the term in which it made up its mind.
    pub fence: Option<u64>,
    /// The change.
    pub command: Command,
}

/// Bytes that are not a command or reply of a known version.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Nothing to read.
    #[error("an empty metadata record")]
    Empty,
    /// Written by a newer build.
    #[error(
        "metadata encoding version {0} is not known to this build (it knows {ENCODING_VERSION})"
    )]
    Version(u8),
    /// Malformed.
    #[error("a malformed metadata record: {0}")]
    Malformed(#[from] postcard::Error),
    /// Bytes left over after the value.
    #[error("a metadata record with {0} bytes too many")]
    Trailing(usize),
}

/// Writes a value with the version byte before it.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![ENCODING_VERSION])
        .expect("plain data without unsized sequences always encodes")
}

/// Reads a value written by [`encode`], and nothing else.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    match bytes {
        [] => Err(CodecError::Empty),
        [ENCODING_VERSION, rest @ ..] => {
            let (value, left) = postcard::take_from_bytes(rest)?;
            if left.is_empty() { Ok(value) } else { Err(CodecError::Trailing(left.len())) }
        }
        [version, ..] => Err(CodecError::Version(*version)),
    }
}

impl From<Command> for Envelope {
    fn from(command: Command) -> Self {
        Self { request: None, fence: None, command }
    }
}

impl Envelope {
    /// The bytes of the Raft entry.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        encode(self).into()
    }

    /// Reads a Raft entry's bytes.
    ///
    /// # Errors
    /// [`CodecError`] for anything that [`Self::to_bytes`] of a known version did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

impl CommandReply {
    /// The bytes of a reply between nodes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        encode(self).into()
    }

    /// Reads [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`CodecError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

#[cfg(test)]
#[path = "command_test.rs"]
mod tests;
