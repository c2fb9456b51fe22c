//! What can be watched: a group's state here, who leads where, and how peers fare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::{LogId, NodeId};

/// One group as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The current term.
    pub term: u64,
    /// Who leads `term`, where known.
    pub leader: Option<NodeId>,
    /// Whether this node leads `term`.
    pub is_leader: bool,
    /// Whether this node leads and has applied its term's own first entry, and so everything that
    /// earlier leaders committed (Raft paper, section 8).
    pub leader_ready: bool,
    /// Index of the last entry in the log here.
    pub last: Option<u64>,
    /// Index of the last entry known to be committed.
    pub committed: Option<u64>,
    /// The last entry applied here.
    pub applied: Option<LogId>,
    /// The last entry purged here.
    pub purged: Option<LogId>,
    /// Members with a vote.
    pub voters: Arc<BTreeSet<NodeId>>,
    /// Members without one.
    pub learners: Arc<BTreeSet<NodeId>>,
    /// On the leader: the last index that each member is known to hold. Empty elsewhere.
    pub replication: BTreeMap<NodeId, u64>,
    /// Why the group ended, if it did other than by being closed.
    pub fault: Option<Arc<str>>,
}

/// Who leads, and whether this node may serve: the part of [`GroupStatus`] that changes at
/// elections only, so that waiting for it costs nothing while entries flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The current term.
    pub term: u64,
    /// Who leads `term`, where known.
    pub leader: Option<NodeId>,
    /// Whether this node leads `term`.
    pub is_leader: bool,
    /// Whether this node leads and has applied its term's own first entry.
    pub ready: bool,
}

impl GroupStatus {
    /// On the leader: how many entries of its log a voter is not known to hold. `None` elsewhere, and for
    /// a node without a vote.
    pub fn lag(&self, node: NodeId) -> Option<u64> {
        if !self.is_leader || !self.voters.contains(&node) {
            return None;
        }
        let end = self.last.map_or(0, |last| last + 1);
        let held = self.replication.get(&node).map_or(0, |matched| matched + 1);
        Some(end.saturating_sub(held))
    }

    /// The part that changes at elections only.
    pub fn role(&self) -> Role {
        Role {
            term: self.term,
            leader: self.leader,
            is_leader: self.is_leader,
            ready: self.leader_ready,
        }
    }
}

/// Who leads a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The leader.
    pub leader: NodeId,
    /// Its term.
    pub term: u64,
}

/// How a peer fares, as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// Connected, and heard within the dead time.
    pub alive: bool,
    /// Proven to be gone: silent for the dead time, or nobody listens at its address.
    pub dead: bool,
    /// Nobody listens at its address: its process has ended.
    pub refused: bool,
    /// A connection with a completed hello stands.
    pub connected: bool,
    /// When the last frame came.
    pub last_seen: Option<Instant>,
    /// Round trip of the last heartbeat.
    pub rtt: Option<Duration>,
}
