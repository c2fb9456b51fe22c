//! Leaderships change hands without a gap: all that a node has before it stops, and those for which
//! another node is preferred, once that node has settled. And those with which nobody is served where they are: a
//! leader whose heartbeats come back too late to be confirmed answers no reads, while its voters hear it and elect nobody.
//!
//! **Invariant:** a group goes to a voter that lives and has nearly all of its log, a few groups at a
//! time; what cannot be handed over stays, and is elected when this node is gone.
//! Deliberately elsewhere: who succeeds a leader that is gone ([`crate::succession`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::MissedTickBehavior;

use crate::error::HandoverError;
use crate::group::Group;
use crate::id::{GroupId, NodeId};
use crate::incomplete::Incomplete;
use crate::registry::Registry;
use crate::status::GroupStatus;
use crate::transport::{Peer, Transport};

/// Groups that change hands at the same time. A group takes no writes from the moment when it is its turn; what all take
/// together is bound by the processor, however many it are at a time.
const AT_ONCE: usize = 16;
/// The same of groups that serve nobody.
const RESIGNED_AT_ONCE: usize = 256;
/// Between two looks for groups to give back, or to resign.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Groups given back per look: a client's metadata are out of date for a moment after each.
const GIVEN_BACK_MAX: usize = 100;
/// Looks in a row that find a leader unconfirmed before it resigns.
const UNCONFIRMED_LOOKS: u32 = 2;
/// How long it has led by then: where the network is too slow for every leader, a group does not go round all the time.
const LED_BEFORE: Duration = Duration::from_secs(3);

/// What hands groups over.
pub(crate) struct Handover {
    pub(crate) transport: Arc<Transport>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) incomplete: Arc<Incomplete>,
}

impl Handover {
    /// Gives groups back to the nodes that are preferred for them, until the node stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut stopped = self.transport.stopped();
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unconfirmed = HashMap::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let due = self.registry.all().into_iter().filter_map(|group| {
                let to = self.preferred_instead(&group)?;
                Some((group, to))
            });
            hand_over(due.take(GIVEN_BACK_MAX), AT_ONCE).await;
            self.resign(&mut unconfirmed).await;
        }
    }

    /// Hands over what this node leads in vain. `unconfirmed` counts the looks that have found a group so.
    async fn resign(&self, unconfirmed: &mut HashMap<GroupId, u32>) {
        let is_late = |peer: &Arc<Peer>| peer.link().is_some() && !peer.is_prompt();
        if !self.transport.peers().iter().any(is_late) {
            return unconfirmed.clear();
        }
        let in_vain = |group: &Group| {
            let leads_long = group.leads_since().is_some_and(|since| since.elapsed() >= LED_BEFORE);
            leads_long && !group.has_abdicated() && !group.is_confirmed()
        };
        let groups: Vec<_> = self.registry.all().into_iter().filter(in_vain).collect();
        let count = |group: &Group| (group.id(), unconfirmed.get(&group.id()).unwrap_or(&0) + 1);
        *unconfirmed = groups.iter().map(count).collect();
        let due = groups.into_iter().filter(|group| unconfirmed[&group.id()] >= UNCONFIRMED_LOOKS);
        let due: Vec<_> =
            due.filter_map(|group| self.successor_of(&group).map(|to| (group, to))).collect();
        if due.is_empty() {
            return;
        }
        let led = due.len();
        let taken = hand_over(due.into_iter(), RESIGNED_AT_ONCE).await;
        tracing::warn!(
            led,
            taken,
            "this node's heartbeats come back too late to lead: others take over; where the network is no faster \
             raise raft.peer_dead_ms"
        );
    }

    /// Hands over every group that this node leads, the metadata group last. Returns when that is done
    /// as far as it can be, at the latest after `limit`: whether others took any.
    pub(crate) async fn all(&self, limit: Duration) -> bool {
        let mut has_handed = false;
        let handed = async {
            // Again for those of an election that was under way, and for those whose successor went away.
            while self.all_once().await > 0 {
                has_handed = true;
            }
        };
        if tokio::time::timeout(limit, handed).await.is_err() {
            tracing::warn!(?limit, "not every leadership was handed over in time");
        }
        has_handed
    }

    /// How many groups were handed over.
    async fn all_once(&self) -> usize {
        let is_metadata = |group: &Group| group.id() == GroupId::METADATA;
        let (metadata, partitions) =
            self.registry.all().into_iter().partition::<Vec<_>, _>(is_metadata);
        let mut count = 0;
        for groups in [partitions, metadata] {
            // Who takes over is seen when it is a group's turn: the first may take seconds.
            let due = groups.into_iter().filter_map(|group| {
                let to = self.successor_of(&group)?;
                Some((group, to))
            });
            count += hand_over(due, AT_ONCE).await;
        }
        count
    }

    fn successor_of(&self, group: &Group) -> Option<NodeId> {
        let is_able = |node| self.is_able(group.id(), node) && group.is_level(node);
        let status = group.status().borrow();
        successor(group.id(), &status, self.transport.me(), is_able)
    }

    /// The node that should lead `group` instead of this one, if it could take over now.
    fn preferred_instead(&self, group: &Group) -> Option<NodeId> {
        let settle = self.transport.timing().settle();
        // Who coordinates consumer groups should change as seldom as possible.
        if group.id() == GroupId::METADATA {
            return None;
        }
        let to = group.preferred().filter(|to| *to != self.transport.me())?;
        let has_settled = |since: Instant| since.elapsed() >= settle;
        // Who has led for a moment only may have taken over from a node that is about to stop.
        if !group.leads_since().is_some_and(has_settled) {
            return None;
        }
        let peer = self.transport.peer(to)?;
        let link = peer.link()?;
        // Clients come back to a node with pauses that grow, up to 10 s (librdkafka) from its loss.
        let lost_for = peer.away() + link.since().elapsed();
        (has_settled(link.since())
            && peer.is_prompt()
            && lost_for >= settle * 2
            && self.is_able(group.id(), to)
            && group.is_level(to))
        .then_some(to)
    }

    /// Hands a group over to the node that is preferred for it now, however short a time either has
    /// been there.
    pub(crate) async fn to_preferred(&self, group: &Group) -> Result<(), HandoverError> {
        if !group.status().borrow().is_leader {
            return Err(HandoverError::NotLeader);
        }
        let to = group.preferred().ok_or(HandoverError::NotNeeded)?;
        if to == self.transport.me() {
            return Err(HandoverError::NotNeeded);
        }
        self.check_able(group.id(), to)?;
        if !group.is_level(to) {
            let lag = group.lag(to).ok_or(HandoverError::NoVoter(to))?;
            return Err(HandoverError::Behind { node: to, lag });
        }
        group.transfer_leader(to).await.map_err(HandoverError::Failed)
    }

    fn is_able(&self, group: GroupId, node: NodeId) -> bool {
        self.check_able(group, node).is_ok()
    }

    /// Whether a node lives and would take over: one without its whole log refuses.
    fn check_able(&self, group: GroupId, node: NodeId) -> Result<(), HandoverError> {
        let dead = self.transport.timing().peer_dead();
        let peer = self.transport.peer(node).filter(|peer| peer.status(dead).alive);
        let peer = peer.ok_or(HandoverError::Unreachable(node))?;
        if peer.is_leaving() {
            return Err(HandoverError::Leaving(node));
        }
        if self.incomplete.contains(group, node) {
            return Err(HandoverError::Refilling(node));
        }
        Ok(())
    }
}

/// Hands groups over, so many at a time; how many were taken.
async fn hand_over(due: impl Iterator<Item = (Group, NodeId)>, at_once: usize) -> usize {
    let handing = futures_util::stream::iter(due).map(|(group, to)| async move {
        match group.transfer_leader(to).await {
            Ok(()) => tracing::debug!(group = %group.id(), %to, "leadership handed over"),
            Err(error) => {
                tracing::debug!(group = %group.id(), %to, %error, "leadership not handed over");
                return 0;
            }
        }
        1
    });
    handing.buffer_unordered(at_once).fold(0, |sum, taken| async move { sum + taken }).await
}

/// Of the voters that are able to take over `group` from `me`, the leader, the one that can soonest; of equals a
/// different one for each group.
fn successor(
    group: GroupId,
    status: &GroupStatus,
    me: NodeId,
    is_able: impl Fn(NodeId) -> bool,
) -> Option<NodeId> {
    if !status.is_leader {
        return None;
    }
    let others = status.voters.iter().copied().filter(|node| *node != me);
    let able: Vec<_> = others.filter(|node| is_able(*node)).collect();
    let first = group.spread() as usize % able.len().max(1);
    let order = able.iter().cycle().skip(first).take(able.len());
    order.copied().max_by_key(|node| status.replication.get(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId { topic: 7, partition: 3 };

    fn status(matched: &[(u64, u64)]) -> GroupStatus {
        GroupStatus {
            is_leader: true,
            last: Some(5_000),
            voters: Arc::new([1, 2, 3].map(NodeId).into()),
            replication: matched.iter().map(|(id, at)| (NodeId(*id), *at)).collect(),
            ..GroupStatus::default()
        }
    }

    #[test]
    fn the_voter_with_most_of_the_log_succeeds() {
        let me = NodeId(1);
        let level = status(&[(1, 5_000), (2, 4_990), (3, 4_999)]);
        assert_eq!(successor(GROUP, &level, me, |_| true), Some(NodeId(3)));
        assert_eq!(successor(GROUP, &level, me, |node| node == NodeId(2)), Some(NodeId(2)));
        assert_eq!(successor(GROUP, &level, me, |_| false), None);
        let stranger = status(&[(1, 5_000), (9, 5_000)]);
        assert_eq!(successor(GROUP, &stranger, me, |node| node == NodeId(9)), None, "no voter");
        let follower = GroupStatus { is_leader: false, ..level };
        assert_eq!(successor(GROUP, &follower, me, |_| true), None);
    }

    #[test]
    fn equals_succeed_one_group_each() {
        let level = status(&[(1, 5_000), (2, 5_000), (3, 5_000)]);
        let to = |partition| successor(GroupId { partition, ..GROUP }, &level, NodeId(1), |_| true);
        let second = (0..100).filter(|partition| to(*partition) == Some(NodeId(2))).count();
        let third = (0..100).filter(|partition| to(*partition) == Some(NodeId(3))).count();
        assert!(second + third == 100 && second.abs_diff(third) <= 20, "{second} and {third}");
    }
}
