//! openraft's type configuration, and the conversions between its nouns and ours.
//!
//! **Invariant:** `leader_id_std`: one leader per term, so that term and leader epoch are the same.

use std::collections::BTreeMap;

use openraft::OptionalSend;
use openraft::impls::leader_id_std;
use openraft::vote::leader_id_std::CommittedLeaderId;

use super::completion::Completion;
use super::machine::Machine;
use super::runtime::Runtime;
use crate::entry::{Data, Entry, Payload, Reply};
use crate::id::{LogId, NodeId};
use crate::membership::{Membership, StoredMembership};
use crate::vote::Vote;

/// Our types, as openraft wants them named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Data;
    type R = Reply;
    type NodeId = NodeId;
    type Node = ();
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = RaftVote;
    type Payload = Payload;
    type Entry = RaftEntry;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Completion<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type C = TypeConfig;
pub(crate) type Raft = openraft::Raft<C, Machine>;
pub(crate) type RaftFlushed = openraft::storage::IOFlushed<C>;
pub(crate) type RaftLogId = openraft::LogId<CommittedLeaderId<u64>>;
pub(crate) type RaftVote = openraft::Vote<leader_id_std::LeaderId<u64, NodeId>>;
pub(crate) type RaftMembership = openraft::Membership<NodeId, ()>;
pub(crate) type RaftStoredMembership =
    openraft::StoredMembership<CommittedLeaderId<u64>, NodeId, ()>;
pub(crate) type RaftEntry = openraft::Entry<CommittedLeaderId<u64>, Payload>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<C>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<C>;
pub(crate) type AppendError = openraft::raft::StreamAppendError<C>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<C>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<C>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<C>;
pub(crate) type Fatal = openraft::errors::Fatal<C>;
pub(crate) type Metrics = openraft::RaftMetrics<C>;
pub(crate) type MetricsWatch = openraft::type_config::alias::WatchReceiverOf<C, Metrics>;
pub(crate) type ServerMetricsWatch =
    openraft::type_config::alias::WatchReceiverOf<C, openraft::metrics::RaftServerMetrics<C>>;

pub(crate) fn to_log_id(id: LogId) -> RaftLogId {
    RaftLogId::new(CommittedLeaderId::new(id.term), id.index)
}

pub(crate) fn from_log_id(id: &RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn to_vote(vote: Vote) -> RaftVote {
    let leader_id = leader_id_std::LeaderId { term: vote.term, voted_for: vote.node };
    RaftVote { leader_id, committed: vote.committed }
}

pub(crate) fn from_vote(vote: &RaftVote) -> Vote {
    Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

/// An error where a configuration is empty or names a voter that is no node: such bytes never left
/// this crate's encoder.
pub(crate) fn to_membership(membership: Membership) -> Result<RaftMembership, &'static str> {
    let nodes: BTreeMap<NodeId, ()> = membership.nodes.iter().map(|node| (*node, ())).collect();
    if membership.configs.is_empty() && nodes.is_empty() {
        return Ok(RaftMembership::default());
    }
    RaftMembership::new(membership.configs, nodes).map_err(|_| "membership without voters")
}

pub(crate) fn from_membership(membership: &RaftMembership) -> Membership {
    Membership {
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(node, ())| *node).collect(),
    }
}

pub(crate) fn to_stored(stored: StoredMembership) -> Result<RaftStoredMembership, &'static str> {
    let membership = to_membership(stored.membership)?;
    Ok(RaftStoredMembership::new(stored.log_id.map(to_log_id), membership))
}

pub(crate) fn from_stored(stored: &RaftStoredMembership) -> StoredMembership {
    StoredMembership {
        log_id: stored.log_id().as_ref().map(from_log_id),
        membership: from_membership(stored.membership()),
    }
}

pub(crate) fn to_entry(entry: Entry) -> RaftEntry {
    RaftEntry { log_id: to_log_id(entry.log_id), payload: entry.payload }
}

pub(crate) fn from_entry(entry: RaftEntry) -> Entry {
    Entry { log_id: from_log_id(&entry.log_id), payload: entry.payload }
}
