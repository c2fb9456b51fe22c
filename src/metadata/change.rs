//! What a client of the cluster asks to be changed, before the controller has validated and
//! placed it.
//!
//! **Invariant:** a change is forwarded to the leader as it was asked, and planned there against
//! the newest state; each carries the request id under which a retry is recognised.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{CodecError, Command, CommandReply, RequestId, decode, encode};
use super::refusal::Refusal;
use crate::model::{BrokerId, PartitionIndex, TopicId};

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopic {
    /// The name.
    pub name: String,
    /// How many partitions; −1: `num.partitions`, or as many as are assigned.
    pub partitions: i32,
    /// Replicas of each; −1: `default.replication.factor`, or as many as are assigned.
    pub replication_factor: i16,
    /// Replicas by partition, where the client places them itself.
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// Configs to set. A config without a value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopicSelector {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// Partitions to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePartitions {
    /// The topic's name.
    pub topic: String,
    /// How many partitions it is to have.
    pub count: i32,
    /// Replicas of each added partition, where the client places them itself.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What configs are asked to be altered on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigTarget {
    /// A topic, by name.
    Topic(String),
    /// One broker.
    Broker(BrokerId),
    /// All brokers.
    Cluster,
}

/// What happens to one config (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOp {
    /// The value becomes this.
    Set(String),
    /// The value is no longer set.
    Delete,
    /// Items are added to a list.
    Append(String),
    /// Items are removed from a list.
    Subtract(String),
}

/// Configs to alter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterConfigs {
    /// On what.
    pub target: ConfigTarget,
    /// By name.
    pub ops: BTreeMap<String, ConfigOp>,
}

/// One change that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A command that needs no planning.
    Command(Command),
    /// Create a topic.
    CreateTopic(CreateTopic),
    /// Delete a topic.
    DeleteTopic(TopicSelector),
    /// Add partitions.
    CreatePartitions(CreatePartitions),
    /// Alter configs.
    AlterConfigs(AlterConfigs),
}

/// Changes that one request asks for, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRequest {
    /// Only say what would be answered.
    pub validate_only: bool,
    /// Each with the id under which it is applied once.
    pub changes: Vec<(RequestId, Change)>,
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was made; what applying it answered.
    Done(CommandReply),
    /// It would be made (`validate_only`): the command that would make it.
    Valid(Command),
    /// It was refused.
    Refused(Refusal),
}

/// The answer to a [`ChangeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Index of the log entry up to which a node must have applied to see what was made.
    pub applied: u64,
    /// Per change, in order.
    pub outcomes: Vec<Outcome>,
}

impl ChangeRequest {
    /// Changes with fresh request ids.
    #[must_use]
    pub fn new(changes: impl IntoIterator<Item = Change>, validate_only: bool) -> Self {
        let changes = changes.into_iter().map(|change| (RequestId::random(), change)).collect();
        Self { validate_only, changes }
    }

    /// The bytes of the forwarded request.
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

/// Why the asked node made no answer; the asker may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NoAnswer {
    /// It does not lead.
    NotLeader,
    /// It leads but cannot write at the moment.
    Unavailable,
    /// It submitted at least a part and does not know the outcome.
    Uncertain,
    /// It is stopping.
    Closed,
}

/// What travels back.
pub(super) type CallAnswer = Result<ChangeAnswer, NoAnswer>;
