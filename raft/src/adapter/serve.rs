//! Requests of peers, as openraft's calls and back.

use std::sync::atomic::Ordering;

use openraft::raft::{AppendEntriesResponse, TransferLeaderError};

use super::completion::GroupSignals;
use super::machine::to_snapshot;
use super::types::*;
use crate::id::{LogId, NodeId};
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

/// Ends the lease of the leader of `term`, who is gone, for the rest of the term: this replica may vote and
/// stand. Nothing, and `false`, where there is another leader or a later term by now.
pub(crate) async fn disable_lease(
    raft: &Raft,
    signals: &GroupSignals,
    leader: Option<NodeId>,
    term: u64,
) -> bool {
    // What a leader says that hands over, to nobody: the lease ends, and no election begins.
    const NOBODY: NodeId = NodeId(u64::MAX);
    let vote = match leader {
        Some(_) if signals.voted.load(Ordering::Acquire) > term => return false,
        // Where the vote is a later one when openraft comes to this, nothing happens: its leader's lease stands.
        Some(node) => to_vote(Vote { term, node, committed: true }),
        None => {
            let vote = raft.with_raft_state(|state| *state.vote_ref()).await;
            // Fails only where the group has ended, as below.
            let Ok(vote) = vote else { return false };
            // One that was the leader itself, until it was started again, knows of none.
            if vote.leader_id.term != term
                || vote.committed && vote.leader_id.voted_for != *raft.node_id()
            {
                return false;
            }
            vote
        }
    };
    raft.handle_transfer_leader(TransferRequest::new(vote, NOBODY, None)).await.is_ok()
}

/// The vote of this replica; an error where it has ended.
pub(crate) async fn vote_of(raft: &Raft) -> Result<Vote, String> {
    let vote = raft.with_raft_state(|state| *state.vote_ref()).await;
    vote.map(|vote| from_vote(&vote)).map_err(|fatal| fatal.to_string())
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
