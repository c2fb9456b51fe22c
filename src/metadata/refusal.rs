//! Why a well-formed request to change the metadata is refused.
//!
//! **Invariant:** a refusal changes nothing; it is an answer, not a fault. It crosses the wire
//! between nodes and sits in the request window, so its encoding is part of the command version.

use serde::{Deserialize, Serialize};

use super::topic_name::TopicNameError;
use crate::model::{BrokerId, TopicId};

/// The refusal of one change. The text is what the client is told; Kafka's where Kafka has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The name is taken.
    #[error("Topic '{0}' already exists.")]
    TopicExists(String),
    /// The name breaks the rules.
    #[error("{0}")]
    TopicName(TopicNameError),
    /// The name is one that only the brokers themselves may use.
    #[error("Creation of internal topic {0} is prohibited.")]
    TopicReserved(String),
    /// No topic of that name.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// No topic with that id.
    #[error("There is no topic with the id {0}.")]
    UnknownTopicId(TopicId),
    /// A partition count that cannot be.
    #[error("{0}")]
    Partitions(String),
    /// A replication factor that cannot be had.
    #[error("{0}")]
    ReplicationFactor(String),
    /// A manual assignment that cannot be.
    #[error("{0}")]
    Assignment(String),
    /// A config that does not exist or whose value is not allowed.
    #[error("{0}")]
    Config(String),
    /// The request contradicts itself.
    #[error("{0}")]
    Request(String),
    /// More than the cluster takes in one request.
    #[error("{0}")]
    Policy(String),
    /// The broker is not registered.
    #[error("Broker {0} is not registered.")]
    UnknownBroker(BrokerId),
    /// The topic changed between planning and applying; asking again plans afresh.
    #[error("The topic changed while the request was under way: try again.")]
    Conflict,
    /// Proposed in another term than the one that the proposer acted in.
    #[error("The leadership has changed.")]
    Fenced,
    /// The group's record is not the one that the writer knows.
    #[error("The record of the group '{0}' has changed.")]
    StaleGroup(String),
    /// No record and no offsets of that group.
    #[error("There is no group '{0}'.")]
    UnknownGroup(String),
    /// The group has members or offsets, so it cannot be deleted.
    #[error("The group '{0}' is not empty.")]
    GroupNotEmpty(String),
    /// Every producer id has been given out.
    #[error("Producer ids are exhausted.")]
    ProducerIdsExhausted,
}
