//! What can go wrong, by who asks: the operator of a node, a proposer, a caller of a peer.

use std::time::Duration;

use crate::id::{GroupId, NodeId};
use crate::lag::Lag;

/// A node or a group cannot be started, changed or stopped as asked.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// An option contradicts itself or another one.
    #[error("invalid option: {0}")]
    Options(String),
    /// The listener or a socket refused.
    #[error("network: {0}")]
    Network(#[source] std::io::Error),
    /// A group of that id is already open on this node.
    #[error("group {0} is already open")]
    Open(GroupId),
    /// No group of that id is open on this node.
    #[error("group {0} is not open")]
    Unknown(GroupId),
    /// A port answered with an error, which ended the group.
    #[error("storage: {0}")]
    Storage(String),
    /// This node is not among the voters that it was told to initialize a group with.
    #[error("node {0} is not among the group's voters")]
    NotAVoter(NodeId),
    /// This node does not lead the group, or the node to transfer to cannot.
    #[error("not possible: {0}")]
    NotPossible(String),
    /// The time allowed ran out.
    #[error("no result within {0:?}")]
    Timeout(Duration),
    /// The node or the group was shut down.
    #[error("shut down")]
    Shutdown,
}

/// A group has ended on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the group has ended on this node")]
pub struct Ended;

/// A group was not handed over to the node that is preferred for it.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// This node does not lead the group, or has no replica of it.
    #[error("this node does not lead the group")]
    NotLeader,
    /// The preferred node leads, or none is preferred.
    #[error("the preferred node leads")]
    NotNeeded,
    /// The preferred node is not heard.
    #[error("node {0} is down")]
    Unreachable(NodeId),
    /// The preferred node is about to stop.
    #[error("node {0} is about to stop")]
    Leaving(NodeId),
    /// The preferred node's replica has no vote until it has its log back.
    #[error("the replica of node {0} is being refilled")]
    Refilling(NodeId),
    /// The preferred node lacks too much of the log.
    #[error("node {node} is {lag} behind")]
    Behind {
        /// The preferred node.
        node: NodeId,
        /// What it is not known to hold.
        lag: Lag,
    },
    /// The preferred node has no vote in the group.
    #[error("node {0} is no voter of the group")]
    NoVoter(NodeId),
    /// It was asked to take over, and did not.
    #[error("the hand-over failed: {0}")]
    Failed(#[source] RaftError),
}

/// A proposal was not applied, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not appended: this node does not lead the group.
    #[error("not the leader in term {term}; the leader is {leader:?}")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<NodeId>,
        /// The term in which that was learnt.
        term: u64,
    },
    /// Certainly not appended: this node leads, but cannot accept writes for a moment (its lease
    /// ran out, or it hands leadership over). Worth a retry here.
    #[error("the leader cannot accept writes at the moment")]
    Unavailable,
    /// Not appended: the group was shut down.
    #[error("shut down")]
    Shutdown,
    /// Submitted, but the outcome is unknown: it may be committed, now or later.
    #[error("outcome unknown")]
    Uncertain,
    /// The group ended by an error of its storage.
    #[error("the group's storage failed")]
    Storage,
}

/// A call to a peer has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or it was lost while waiting. The peer may have acted.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// No answer within the deadline. The peer may have acted.
    #[error("no answer within the deadline")]
    Timeout,
    /// The body is larger than a frame may be; the size in bytes.
    #[error("a body of {0} bytes is too large")]
    TooLarge(usize),
    /// The peer serves no calls yet, or none of this kind.
    #[error("not served")]
    NotServed,
    /// The handler refused; its reason.
    #[error("{0}")]
    Failed(String),
    /// This node was shut down.
    #[error("shut down")]
    Shutdown,
}
