//! Why a partition cannot do what was asked.

use jackdaw_raft::RaftError;

use super::producer_state::SequenceError;
use crate::model::Offset;

/// Why a replica cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its log was found damaged while Raft read it.
    #[error("{0}")]
    Damaged(String),
    /// Its Raft group cannot be opened.
    #[error(transparent)]
    Raft(#[from] RaftError),
}

/// A refused or failed operation on one partition.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PartitionError {
    /// Another replica leads, or none does.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// It leads, but has not yet committed an entry of its own term, so it cannot tell where the
    /// high watermark is.
    #[error("the new leader has not yet committed an entry of its own epoch")]
    NotReady,
    /// The client's leader epoch is older than the leader's.
    #[error("the client's leader epoch is older than {current}")]
    FencedEpoch {
        /// The leader's epoch.
        current: i32,
    },
    /// The client's leader epoch is newer than what this node knows.
    #[error("the client's leader epoch is newer than {current}")]
    UnknownEpoch {
        /// The leader's epoch.
        current: i32,
    },
    /// Outside what the log holds.
    #[error("offset {asked} is outside {start}..={end}")]
    OffsetOutOfRange {
        /// What was asked for.
        asked: Offset,
        /// The log start offset.
        start: Offset,
        /// The largest offset that may be asked for.
        end: Offset,
    },
    /// An idempotent producer's batch does not continue its sequence.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The batch was handed to Raft, and then the leader lost its term or the node stopped: it may
    /// or may not survive.
    #[error("the outcome of the append is not known")]
    Uncertain,
    /// The disk has no room for records of producers.
    #[error("the disk of the leader is almost full: records are refused until there is room again")]
    Full,
    /// The disk failed a read.
    #[error("storage: {0}")]
    Storage(String),
}
