//! Which brokers are there: alive as far as this node knows, or alive a moment ago.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jackdaw_raft::NodeId;

use super::Metadata;
use super::handle::broker_of;
use crate::model::BrokerId;

/// How long a broker that ended as a leader is leaving: long enough for its clients to have asked who leads
/// now.
const LEAVING: Duration = Duration::from_secs(2);
/// How long a broker that is silent is not given up: longer than requests to it stay open
/// (`socket.timeout.ms` of librdkafka is a minute).
const SILENT: Duration = Duration::from_secs(120);

/// What clients are to be told of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is this one, or was heard of lately.
    Alive,
    /// It is not heard, and nothing says that its process has ended. Clients' requests to it may be open:
    /// librdkafka takes those to a broker that is no longer listed for not written, and writes twice.
    Silent,
    /// Its process ended a moment ago, and it led partitions then or until shortly before; it was heard for the last time at that instant,
    /// which tells this end of it from others.
    Leaving(Instant),
    /// It is gone, or was never there.
    Gone,
}

impl Metadata {
    /// Whether a broker is this one or a peer that was heard of lately.
    #[must_use]
    pub fn is_alive(&self, broker: BrokerId) -> bool {
        let heard = |node| self.inner.peers.borrow().get(&node).is_some_and(|peer| peer.alive);
        broker == self.inner.broker || u64::try_from(broker.0).is_ok_and(|id| heard(NodeId(id)))
    }

    /// This broker and its live peers.
    #[must_use]
    pub fn alive(&self) -> BTreeSet<BrokerId> {
        let peers = self.inner.peers.borrow().clone();
        let alive = peers.iter().filter(|(_, peer)| peer.alive).map(|(id, _)| broker_of(*id));
        alive.chain([self.inner.broker]).collect()
    }

    /// What clients are to be told of a broker.
    #[must_use]
    pub fn presence(&self, broker: BrokerId) -> Presence {
        if self.is_alive(broker) {
            return Presence::Alive;
        }
        let peers = self.inner.peers.borrow().clone();
        let node = u64::try_from(broker.0).map(NodeId).ok();
        let peer = node.and_then(|node| Some((node, peers.get(&node)?)));
        let Some((node, peer)) = peer else { return Presence::Gone };
        let seen_within = |limit| peer.last_seen.filter(|seen| seen.elapsed() < limit);
        match (peer.refused, seen_within(LEAVING)) {
            (false, _) if seen_within(SILENT).is_some() => Presence::Silent,
            (true, Some(seen)) if self.inner.node.is_or_was_leading(node) => {
                Presence::Leaving(seen)
            }
            _ => Presence::Gone,
        }
    }
}
