//! Requests of peers, as openraft's calls and back.

use openraft::raft::{AppendEntriesResponse, TransferLeaderError};

use super::machine::to_snapshot;
use super::types::*;
use crate::id::LogId;
use crate::vote::Vote;
use crate::wire::{SnapshotMessage, TransferAnswer, TransferMessage};

/// Serves a heartbeat, which holds no entries: it matches at `prev`, or conflicts there.
pub(crate) async fn probe(
    raft: &Raft,
    request: AppendRequest,
    prev: Option<LogId>,
) -> Result<AppendResult, String> {
    let response = raft.append_entries(request).await.map_err(|fatal| fatal.to_string())?;
    Ok(match response {
        AppendEntriesResponse::Success => Ok(prev.map(to_log_id)),
        AppendEntriesResponse::PartialSuccess(matched) => Ok(matched),
        AppendEntriesResponse::Conflict => {
            Err(AppendError::Conflict(to_log_id(prev.unwrap_or_default())))
        }
        AppendEntriesResponse::HigherVote(vote) => Err(AppendError::HigherVote(vote)),
    })
}

/// Installs a leader's snapshot; the vote seen here.
pub(crate) async fn install_snapshot(
    raft: &Raft,
    message: SnapshotMessage,
) -> Result<Vote, String> {
    let snapshot = to_snapshot(message.snapshot).map_err(|error| error.to_string())?;
    let installed = raft.install_full_snapshot(to_vote(message.vote), snapshot).await;
    installed.map(|response| from_vote(&response.vote)).map_err(|fatal| fatal.to_string())
}

/// Takes leadership over, where this node is meant and its log is complete.
pub(crate) async fn handle_transfer(
    raft: &Raft,
    message: TransferMessage,
) -> Result<TransferAnswer, String> {
    let last = message.last.map(to_log_id);
    let request = TransferRequest::new(to_vote(message.vote), message.to, last);
    let handled = raft.handle_transfer_leader(request).await.map_err(|fatal| fatal.to_string())?;
    Ok(match handled {
        Ok(()) => TransferAnswer::Accepted,
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            TransferAnswer::VoteChanged(from_vote(&actual))
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            TransferAnswer::NotFlushed(actual.as_ref().map(from_log_id))
        }
    })
}
