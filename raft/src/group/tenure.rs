//! How surely this node leads a group: elected, confirmed by a majority, or about to go.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Group, Inner};
use crate::id::NodeId;
use crate::mutant;
use crate::transport::Peer;

impl Group {
    /// The term that this node leads and is known to lead: what is remembered of a leadership is of this one.
    pub(super) fn leads(&self) -> Option<u64> {
        let role = self.known_role();
        self.inner.status.leads().filter(|term| role.is_leader && role.term == *term)
    }

    /// Whether this node leads the group and no other can have been elected yet: a majority of the
    /// voters has confirmed it, and has had an eye on this node ever since (Raft dissertation, section
    /// 6.4.1, with the heartbeats of nodes for those of groups). What it serves is then not stale.
    ///
    /// Where it says no for want of news, it also asks the voters, so that it may soon say yes. (Those of a new leader
    /// are about to be sent its first entry.)
    pub fn is_confirmed(&self) -> bool {
        let Some(term) = self.leads() else { return false };
        if self.has_abdicated() {
            return false;
        }
        if mutant::is_on("endless-lease") {
            return true;
        }
        let announced = self.inner.signals.announced.get();
        let confirmed = self.has_majority(term, |peer, acked| {
            acked.elapsed() < peer.lease()
                || announced.is_some_and(|announced| peer.vouches(acked, announced))
        });
        // The first entry of a new leader asks as well.
        if !confirmed && !self.is_new() {
            self.inner.signals.lease_expired.notify_one();
        }
        confirmed
    }

    /// Whether this node was elected a moment ago and has not applied its first entry yet. It serves nothing until
    /// then; but whoever looks for the leader finds no other.
    pub fn is_new(&self) -> bool {
        let is_fresh = |since: Instant| since.elapsed() < self.inner.transport.timing().peer_dead();
        !self.known_role().ready
            && !self.has_abdicated()
            && self.leads_since().is_some_and(is_fresh)
    }

    /// Whether a majority has answered what this node, which leads, has sent after a moment.
    pub(super) fn has_been_confirmed_since(&self, began: Instant) -> bool {
        let term = self.inner.status.leads();
        term.is_some_and(|term| self.has_majority(term, |_, sent| sent >= began))
    }

    /// Whether a majority goes on to confirm this node, which leads, without being asked for this group again.
    pub(crate) fn is_vouched_for(&self) -> bool {
        let announced = self.inner.signals.announced.get().zip(self.leads());
        announced.is_some_and(|(announced, term)| {
            self.has_majority(term, |peer, acked| peer.vouches(acked, announced))
        })
    }

    /// Whether a majority of the voters, this node among them, has acknowledged a term in such a way: who did, and when
    /// that was sent which it has acknowledged.
    fn has_majority(&self, term: u64, counts: impl Fn(&Peer, Instant) -> bool) -> bool {
        let Inner { signals, status, transport, .. } = &*self.inner;
        let is_counted = |voter: &NodeId| {
            let Some(peer) = transport.peer(*voter) else { return *voter == transport.me() };
            signals.acks.of(*voter, term).is_some_and(|acked| counts(&peer, acked))
        };
        // Of one configuration: memberships do not change yet.
        let voters = status.voters();
        2 * voters.iter().filter(|voter| is_counted(voter)).count() > voters.len()
    }

    /// Whether every voter that is connected has answered this node, which leads, over the connection that stands: it
    /// knows what is committed.
    pub(crate) fn has_told(&self) -> bool {
        let Inner { signals, status, transport, .. } = &*self.inner;
        let Some(term) = self.leads() else { return true };
        let is_told = |voter: &NodeId| {
            let link = transport.peer(*voter).and_then(|peer| peer.link());
            link.is_none_or(|link| signals.acks.is_told(*voter, term, link.since()))
        };
        status.voters().iter().all(is_told)
    }

    /// On the leader: when that was sent which a voter has answered last.
    #[cfg(test)]
    pub(crate) fn acked(&self, node: NodeId) -> Option<Instant> {
        self.inner.signals.acks.of(node, self.inner.status.borrow().term)
    }

    /// Whether this node, which leads, hands the group over: it helps whoever stands.
    pub(crate) fn has_abdicated(&self) -> bool {
        self.inner.signals.abdicated.load(Ordering::Acquire)
    }

    /// Since when this node has led the group, if it does.
    pub(crate) fn leads_since(&self) -> Option<Instant> {
        let announced = self.inner.signals.announced.get();
        announced.filter(|_| self.leads().is_some())
    }
}
