//! Which Kafka code answers which failure of a room.
//!
//! **Invariant:** matches here are exhaustive, so that a room's new error cannot go unmapped.

use crate::metadata::{ElectionError, MetadataError, Refusal};
use crate::model::compression::CompressionError;
use crate::model::record_batch::BatchError;
use crate::model::records::RecordError;
use crate::partition::{PartitionError, SequenceError};
use crate::protocol::ErrorCode;

/// A room's error that a client may come to see.
pub trait KafkaCode {
    /// The code that tells a client.
    fn kafka_code(&self) -> ErrorCode;
}

impl KafkaCode for BatchError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::Length(_) | Self::Crc { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::Magic(_) => ErrorCode::UnsupportedForMessageFormat,
            Self::Count { .. } => ErrorCode::InvalidRecord,
        }
    }
}

impl KafkaCode for CompressionError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::UnknownCodec(_) | Self::UnknownName(_) => ErrorCode::UnsupportedCompressionType,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            // Under a right CRC: not retriable, since sending the same again would not help.
            Self::Corrupt { .. } => ErrorCode::InvalidRecord,
        }
    }
}

impl KafkaCode for RecordError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::Batch(error) => error.kafka_code(),
            Self::Compression(error) => error.kafka_code(),
            Self::Truncated(_) | Self::Malformed { .. } | Self::Trailing(_) => {
                ErrorCode::InvalidRecord
            }
        }
    }
}

impl KafkaCode for Refusal {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            Self::TopicName(_) => ErrorCode::InvalidTopicException,
            Self::TopicReserved(_) | Self::Request(_) => ErrorCode::InvalidRequest,
            Self::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            Self::UnknownTopicId(_) => ErrorCode::UnknownTopicId,
            Self::Partitions(_) => ErrorCode::InvalidPartitions,
            Self::ReplicationFactor(_) => ErrorCode::InvalidReplicationFactor,
            Self::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
            Self::Config(_) => ErrorCode::InvalidConfig,
            Self::Policy(_) => ErrorCode::PolicyViolation,
            Self::UnknownBroker(_) => ErrorCode::BrokerIdNotRegistered,
            // Decided by a leader whose view is gone: Java's admin client asks again for this one.
            Self::Conflict | Self::Fenced => ErrorCode::NotController,
            Self::StaleGroup(_) => ErrorCode::NotCoordinator,
            Self::UnknownGroup(_) => ErrorCode::GroupIdNotFound,
            Self::GroupNotEmpty(_) => ErrorCode::NonEmptyGroup,
            Self::ProducerIdsExhausted => ErrorCode::UnknownServerError,
        }
    }
}

impl KafkaCode for ElectionError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            Self::NotNeeded => ErrorCode::ElectionNotNeeded,
            Self::NotAvailable(_) => ErrorCode::PreferredLeaderNotAvailable,
            Self::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

impl KafkaCode for MetadataError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            // As Kafka's broker answers when its controller does not.
            Self::Timeout | Self::Unavailable | Self::Uncertain => ErrorCode::RequestTimedOut,
            // The client turns to another broker.
            Self::NotController | Self::Closed => ErrorCode::NotController,
            Self::Codec(_) | Self::Raft(_) | Self::Io(_) | Self::Config(_) => {
                ErrorCode::UnknownServerError
            }
        }
    }
}

impl KafkaCode for PartitionError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotReady => ErrorCode::OffsetNotAvailable,
            Self::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
            Self::Sequence(SequenceError::Duplicate { .. }) => ErrorCode::DuplicateSequenceNumber,
            // Retriable, certainly not written, and the client asks who leads: an earlier batch may be at
            // another node.
            Self::Sequence(SequenceError::Unknown { .. }) => ErrorCode::NotLeaderOrFollower,
            Self::Sequence(SequenceError::Fenced { .. }) => ErrorCode::InvalidProducerEpoch,
            // Retriable, and to an idempotent producer: "it may have been written".
            Self::Uncertain => ErrorCode::RequestTimedOut,
            // Retriable: the client asks who leads, and tries again.
            Self::Full | Self::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}
