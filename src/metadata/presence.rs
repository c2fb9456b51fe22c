//! Which brokers are there: alive as far as this node knows, or alive a moment ago.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use jackdaw_raft::NodeId;

use super::Metadata;
use super::handle::{broker_of, node_of};
use crate::model::BrokerId;

/// The kind of call that asks for nothing but an answer.
pub(super) const CALL_HEAR: u8 = 3;
/// How long a live peer is waited for: it may be busy.
const HEAR_WAIT: Duration = Duration::from_millis(20);
/// How long a broker that died as a leader is in session: long enough for its clients to have asked who
/// leads now.
const SESSION: Duration = Duration::from_secs(2);

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

    /// Those of [`Self::alive`], and peers that were until a moment ago and led partitions then.
    #[must_use]
    pub fn in_session(&self) -> BTreeSet<BrokerId> {
        let peers = self.inner.peers.borrow().clone();
        let has_just_led = |id: NodeId, seen: Option<Instant>| {
            seen.is_some_and(|seen| seen.elapsed() < SESSION)
                && self.inner.node.is_or_was_leading(id)
        };
        let listed =
            peers.iter().filter(|(id, peer)| peer.alive || has_just_led(**id, peer.last_seen));
        listed.map(|(id, _)| broker_of(*id)).chain([self.inner.broker]).collect()
    }

    /// Hears from every live peer, or tries to for a moment: a process that ended before the call is
    /// known to have lost its connection afterwards.
    pub async fn hear(&self) {
        let peers = self.alive().into_iter().filter(|broker| *broker != self.inner.broker);
        let calls = peers.map(|broker| {
            self.inner.node.call(node_of(broker), CALL_HEAR, Bytes::new(), HEAR_WAIT)
        });
        // Whoever does not answer is alive as far as is known, or not: what counts is what was heard.
        let _ = join_all(calls).await;
    }
}
