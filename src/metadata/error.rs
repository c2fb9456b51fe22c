//! Why a change of the metadata has no answer.

use std::io;

use jackdaw_raft::RaftError;

use super::command::CodecError;
use super::refusal::Refusal;
use super::state::PairsError;

/// The change was not answered; a refusal is an answer (`Refusal`).
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// No answer within the time allowed. The change may have been made, or may yet be.
    #[error("the metadata leader did not answer in time")]
    Timeout,
    /// This node does not lead the metadata group (any more, or in that term). Nothing was
    /// written.
    #[error("this node does not lead the metadata group")]
    NotController,
    /// The group cannot be written at the moment. Nothing was written.
    #[error("the metadata group cannot be written at the moment")]
    Unavailable,
    /// Submitted, outcome unknown.
    #[error("the outcome of the change is unknown")]
    Uncertain,
    /// This node is stopping, or its metadata group ended.
    #[error("the metadata group is closed")]
    Closed,
    /// Other bytes than this build understands came from a peer or from disk.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A config of the node's file is not one that this build can keep.
    #[error("in the node's configuration: {0}")]
    Config(Refusal),
    /// The group could not be opened.
    #[error("the metadata group cannot be opened: {0}")]
    Raft(#[from] RaftError),
    /// The state could not be read.
    #[error("the metadata state cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Bytes of the state that this build cannot read.
pub(super) fn invalid(error: PairsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
