//! What a node is told when it starts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::error::RaftError;
use crate::id::{ClusterId, GroupId, NodeId};
use crate::net::Network;

/// Everything that a node needs to know.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// This node.
    pub node: NodeId,
    /// The cluster; a peer of another one is refused.
    pub cluster: ClusterId,
    /// Peer addresses as `host:port`. An entry for this node itself is ignored.
    pub peers: BTreeMap<NodeId, String>,
    /// Intervals and time-outs.
    pub timing: Timing,
    /// Bounds on memory.
    pub limits: Limits,
    /// Asked before a leader's entries are taken: where it says no, they are refused, and the leader
    /// tries again later. `None`: there always is room.
    pub room: Option<Room>,
    /// Connections to peers are served by a thread of their own, so that nothing else delays heartbeats; if
    /// not, by the runtime that the node is started in, as a simulation needs it.
    pub has_io_thread: bool,
    /// What peers are dialed in.
    pub network: Network,
}

/// What a leader asks this node to append.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// To whose log.
    pub group: GroupId,
    /// At least one.
    pub entries: &'a [Entry],
    /// Others, taken before, may not have reached the log yet.
    pub is_behind_others: bool,
}

/// Whether this node may take entries, which may grow its log.
#[derive(Clone)]
pub struct Room(Arc<dyn Fn(Incoming<'_>) -> bool + Send + Sync>);

impl Room {
    /// Room for what `has_room` is true for now.
    pub fn new(has_room: impl Fn(Incoming<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(has_room))
    }

    pub(crate) fn is_there(&self, incoming: Incoming<'_>) -> bool {
        (self.0)(incoming)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

/// Intervals and time-outs, in milliseconds.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two heartbeats of a pair of nodes.
    pub heartbeat_ms: u64,
    /// A peer unheard for this long is dead: its connection is closed and dialed anew.
    pub peer_dead_ms: u64,
    /// A node that was connected for this long is given the groups that it is preferred for, not before twice
    /// as long after it was lost.
    pub settle_ms: u64,
    /// To connect and to exchange hellos.
    pub connect_ms: u64,
    /// For the answer to a replication or snapshot message on a living connection.
    pub append_ms: u64,
}

/// Bounds on memory, in bytes unless named otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest frame accepted from a peer and sent to one.
    pub frame_bytes_max: usize,
    /// Entries of one replication message stop here, unless a single one is larger.
    pub append_bytes_max: u64,
    /// Requests waiting to be written to one peer.
    pub send_bytes_max: usize,
    /// Requests of one peer being worked on here.
    pub receive_bytes_max: usize,
    /// Unanswered bytes of one group's replication to one peer.
    pub pipeline_bytes_max: usize,
    /// Old entries sent to replicas that were away, of all groups together, in bytes per second.
    pub catch_up_bytes_per_s: u64,
    /// Connections that have not yet said who they are.
    pub hellos_max: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            peer_dead_ms: 600,
            settle_ms: 5_500,
            connect_ms: 1_000,
            append_ms: 10_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 128 << 20,
            append_bytes_max: 4 << 20,
            send_bytes_max: 64 << 20,
            receive_bytes_max: 64 << 20,
            pipeline_bytes_max: 16 << 20,
            catch_up_bytes_per_s: 128 << 20,
            hellos_max: 64,
        }
    }
}

impl NodeOptions {
    /// Options with default timing and limits.
    pub fn new(node: NodeId, cluster: ClusterId, peers: BTreeMap<NodeId, String>) -> Self {
        let (timing, limits) = (Timing::default(), Limits::default());
        let network = Network::default();
        Self { node, cluster, peers, timing, limits, room: None, has_io_thread: true, network }
    }

    pub(crate) fn validate(&self) -> Result<(), RaftError> {
        let (timing, limits) = (&self.timing, &self.limits);
        let rules = [
            (timing.heartbeat_ms > 0, "heartbeat_ms must be above 0"),
            (
                timing.peer_dead_ms > 2 * timing.heartbeat_ms,
                "peer_dead_ms must be above twice heartbeat_ms",
            ),
            (timing.connect_ms > 0 && timing.append_ms > 0, "time-outs must be above 0"),
            (
                limits.frame_bytes_max >= 2 * limits.append_bytes_max as usize,
                "frame_bytes_max must be at least twice append_bytes_max",
            ),
            (
                (1 << 16..=1 << 30).contains(&limits.frame_bytes_max),
                "frame_bytes_max must be between 64 KiB and 1 GiB",
            ),
            (
                limits.append_bytes_max > 0
                    && limits.send_bytes_max > 0
                    && limits.receive_bytes_max > 0
                    && limits.pipeline_bytes_max > 0
                    && limits.catch_up_bytes_per_s > 0
                    && limits.hellos_max > 0,
                "limits must be above 0",
            ),
            (
                limits.send_bytes_max <= 1 << 30 && limits.receive_bytes_max <= 1 << 30,
                "send_bytes_max and receive_bytes_max must be at most 1 GiB",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(RaftError::Options((*rule).to_owned())),
            None => Ok(()),
        }
    }
}

impl Timing {
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    pub(crate) fn peer_dead(&self) -> Duration {
        Duration::from_millis(self.peer_dead_ms)
    }

    pub(crate) fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    pub(crate) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(crate) fn append(&self) -> Duration {
        Duration::from_millis(self.append_ms)
    }
}
