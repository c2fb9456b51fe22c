//! Who leads which group, cluster-wide: what this node's groups say, and what peers announce.
//!
//! Every node announces what it leads: everything when a connection begins, every change at once.
//! So each node knows the leaders of groups of which it holds no replica.
//!
//! **Invariant:** the highest term wins. A peer's full list is queued under the same lock as its
//! changes, so that the two cannot overtake one another.
//! **Invariant:** what a peer leads is known only while its full list of the connection that stands was
//! heard; a peer that lives and claims a group leads it ([`Standing`]).

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::id::{GroupId, NodeId};
use crate::status::{Leadership, PeerStatus};
use crate::stir::Stir;
use crate::transport::{Link, Transport};
use crate::wire::{Announcement, Kind, Outgoing};

/// How long a change keeps others possible: a few elections.
const UNSETTLED: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Known {
    /// What peers announced: few, mostly one.
    announced: Vec<Leadership>,
    /// What this node's own replica knows.
    local: Option<Leadership>,
}

#[derive(Debug, Default)]
struct Table {
    groups: HashMap<GroupId, Known>,
    /// Led by this node, with the term.
    led: HashMap<GroupId, u64>,
    /// When the connection was made over which a peer has sent its full list.
    greeted: HashMap<NodeId, Instant>,
}

/// Whether a group is led, as far as another node than its leader can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A peer lives and says that it leads.
    Led,
    /// The leader is out of sight, and not proven to be gone.
    Unclear,
    /// The leader lives, and does not say that it leads: perhaps it has not got round to it.
    Unclaimed,
    /// The leader is proven to be gone.
    Gone,
    /// Nobody is known to lead.
    Vacant,
}

/// How a peer is seen, for [`Table::standing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Connected since then.
    Connected(Instant),
    Lost,
    Dead,
}

/// How all peers are seen at one moment: for a look over thousands of groups.
pub(crate) struct Outlook {
    me: NodeId,
    /// A handful: one search through them is faster than a hash.
    peers: Vec<(NodeId, Sight)>,
    /// About to stop: they take no leadership over.
    leaving: Vec<NodeId>,
}

pub(crate) struct Leaderships {
    transport: Weak<Transport>,
    table: Mutex<Table>,
    version: watch::Sender<u64>,
    /// When that was counted up last.
    changed: Mutex<Instant>,
    /// Told of every change: elections may be due.
    stir: Arc<Stir>,
}

impl Known {
    fn best(&self) -> Option<Leadership> {
        self.announced.iter().chain(&self.local).max_by_key(|known| known.term).copied()
    }

    fn is_empty(&self) -> bool {
        self.announced.is_empty() && self.local.is_none()
    }

    fn announce(&mut self, leader: NodeId, term: u64, leads: bool) {
        self.announced.retain(|known| known.leader != leader || (!leads && known.term > term));
        if leads {
            self.announced.push(Leadership { leader, term });
        }
    }
}

impl Table {
    /// Changes what is known of a group; whether its leader is another one now.
    fn change(&mut self, group: GroupId, change: impl FnOnce(&mut Known)) -> bool {
        let known = self.groups.entry(group).or_default();
        let before = known.best();
        change(known);
        let after = known.best();
        if known.is_empty() {
            self.groups.remove(&group);
        }
        before != after
    }

    fn is_heard(&self, peer: NodeId, sight: Sight) -> bool {
        matches!(sight, Sight::Connected(since) if self.greeted.get(&peer) == Some(&since))
    }

    /// Whether `group` is led at `term` or later, for node `me` whose replica takes `leader` for
    /// its leader at `term`.
    fn standing(
        &self,
        group: GroupId,
        (leader, term): (Option<NodeId>, u64),
        me: NodeId,
        sight: impl Fn(NodeId) -> Sight,
    ) -> Standing {
        let known = self.groups.get(&group);
        let announced = known.map_or(&[][..], |known| &known.announced);
        let mut unclear = false;
        for claim in announced.iter().filter(|claim| claim.term >= term) {
            match sight(claim.leader) {
                Sight::Dead => {}
                sight if self.is_heard(claim.leader, sight) => return Standing::Led,
                _ => unclear = true,
            }
        }
        if unclear {
            return Standing::Unclear;
        }
        match leader.filter(|leader| *leader != me) {
            None => Standing::Vacant,
            Some(leader) => match sight(leader) {
                Sight::Dead => Standing::Gone,
                sight if self.is_heard(leader, sight) => Standing::Unclaimed,
                _ => Standing::Unclear,
            },
        }
    }

    fn has_claims(&self, node: NodeId) -> bool {
        self.groups.values().any(|known| known.announced.iter().any(|claim| claim.leader == node))
    }

    fn apply(&mut self, from: NodeId, announcement: &Announcement) -> bool {
        let mut changed = false;
        if announcement.full {
            let announced = |known: &Known| known.announced.iter().any(|l| l.leader == from);
            let groups = self.groups.iter().filter(|(_, known)| announced(known));
            let groups: Vec<_> = groups.map(|(group, _)| *group).collect();
            for group in groups {
                changed |= self.change(group, |known| known.announced.retain(|l| l.leader != from));
            }
        }
        for (group, term, leads) in &announcement.groups {
            changed |= self.change(*group, |known| known.announce(from, *term, *leads));
        }
        changed
    }
}

impl Outlook {
    pub(crate) fn sight(&self, node: NodeId) -> Sight {
        let seen = self.peers.iter().find(|(peer, _)| *peer == node);
        // Else it is not in this cluster any more.
        seen.map_or(Sight::Dead, |(_, sight)| *sight)
    }

    /// Whether this node and those of `voters` that it is connected to are a majority of them.
    pub(crate) fn sees_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        let is_seen = |node| node == self.me || matches!(self.sight(node), Sight::Connected(_));
        2 * voters.iter().filter(|node| is_seen(**node)).count() > voters.len()
    }

    /// Whether a node, this one too, might take a leadership over.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        let is_here = node == self.me || self.sight(node) != Sight::Dead;
        is_here && !self.leaving.contains(&node)
    }
}

impl Leaderships {
    pub(crate) fn new(transport: &Arc<Transport>, stir: Arc<Stir>) -> Self {
        Self {
            stir,
            transport: Arc::downgrade(transport),
            table: Mutex::default(),
            version: watch::Sender::new(0),
            changed: Mutex::new(Instant::now()),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer has come, gone or died, and with it what is known of what it leads.
    pub(crate) fn peer_changed(&self) {
        self.stir.all();
        self.touch();
    }

    /// Somebody's leader may be another one now, for those who ask.
    pub(crate) fn touch(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.version.send_modify(|version| *version += 1);
    }

    /// Whether something changed a moment ago, so that elections may be under way: this node started, a
    /// leadership changed, or a peer was lost.
    pub(crate) fn is_unsettled(&self) -> bool {
        let is_fresh = |at: Instant| at.elapsed() < UNSETTLED;
        if is_fresh(*self.changed.lock().unwrap_or_else(PoisonError::into_inner)) {
            return true;
        }
        // What follows from a lost connection may be yet to come.
        let Some(transport) = self.transport.upgrade() else { return false };
        let dead = transport.timing().peer_dead();
        let lost = |status: PeerStatus| !status.alive && status.last_seen.is_some_and(is_fresh);
        transport.peers().iter().any(|peer| lost(peer.status(dead)))
    }

    /// A group was opened, or is another one than it was: an election may be due.
    pub(crate) fn stir(&self, group: GroupId) {
        self.stir.group(group);
    }

    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The leader with the highest term; hidden while that node is dead.
    pub(crate) fn leader_of(&self, group: GroupId) -> Option<Leadership> {
        let best = self.table().groups.get(&group)?.best()?;
        let transport = self.transport.upgrade()?;
        if best.leader == transport.me() {
            return Some(best);
        }
        let peer = transport.peer(best.leader)?;
        peer.status(transport.timing().peer_dead()).alive.then_some(best)
    }

    /// Whether `node` claims a group, or did so until it was lost.
    pub(crate) fn has_claims(&self, node: NodeId) -> bool {
        self.table().has_claims(node)
    }

    /// How the peers are seen now; `None` once the node has stopped.
    pub(crate) fn outlook(&self) -> Option<Outlook> {
        let transport = self.transport.upgrade()?;
        let dead = transport.timing().peer_dead();
        let (mut peers, mut leaving) = (Vec::new(), Vec::new());
        leaving.extend(transport.is_leaving().then_some(transport.me()));
        for peer in transport.peers() {
            leaving.extend(peer.is_leaving().then_some(peer.id()));
            let sight = if peer.is_given_up(dead) {
                Sight::Dead
            } else {
                peer.link().map_or(Sight::Lost, |link| Sight::Connected(link.since()))
            };
            peers.push((peer.id(), sight));
        }
        Some(Outlook { me: transport.me(), peers, leaving })
    }

    /// Whether `group` is led, for this node's replica, which takes `leader` for its leader at `term`.
    pub(crate) fn standing(
        &self,
        outlook: &Outlook,
        group: GroupId,
        leader: Option<NodeId>,
        term: u64,
    ) -> Standing {
        self.table().standing(group, (leader, term), outlook.me, |node| outlook.sight(node))
    }

    /// Ends the connections to `leader`, and to whoever claims `group` in one of `terms`.
    pub(crate) fn part(&self, group: GroupId, leader: Option<NodeId>, terms: Range<u64>) {
        let mut nodes: BTreeSet<_> = leader.into_iter().collect();
        if let Some(known) = self.table().groups.get(&group) {
            let claims = known.announced.iter().filter(|claim| terms.contains(&claim.term));
            nodes.extend(claims.map(|claim| claim.leader));
        }
        let Some(transport) = self.transport.upgrade() else { return };
        for link in nodes.into_iter().filter_map(|node| transport.link(node)) {
            tracing::warn!(%group, peer = %link.peer().id(), "it was heard again while this replica voted: connecting anew");
            link.close();
        }
    }

    /// Whether a peer claims `group` in a later term than `term`.
    pub(crate) fn is_outdated(&self, group: GroupId, term: u64) -> bool {
        let table = self.table();
        let known = table.groups.get(&group);
        known.is_some_and(|known| known.announced.iter().any(|claim| claim.term > term))
    }

    /// What this node's replica of `group` knows, and whether this node leads. Tells the peers
    /// where that changed.
    pub(crate) fn set_local(&self, group: GroupId, local: Option<Leadership>, leads: bool) {
        let mut table = self.table();
        let changed = table.change(group, |known| known.local = local);
        let term = local.filter(|_| leads).map(|local| local.term);
        let before = match term {
            Some(term) => table.led.insert(group, term),
            None => table.led.remove(&group),
        };
        if before != term
            && let Some(transport) = self.transport.upgrade()
        {
            // Only one of the two is missing or they differ: the newer one is what counts.
            let row = (group, term.or(before).unwrap_or_default(), term.is_some());
            let announcement = Announcement { full: false, groups: vec![row] };
            for link in transport.links() {
                send(&link, &announcement);
            }
        }
        drop(table);
        // A change of no consequence to clients may still be one to an election.
        self.stir.group(group);
        if changed {
            self.touch();
        }
    }

    /// Tells a peer that has just connected everything that this node leads.
    pub(crate) fn greet(&self, link: &Link) {
        let table = self.table();
        let groups = table.led.iter().map(|(group, term)| (*group, *term, true)).collect();
        send(link, &Announcement { full: true, groups });
    }

    /// A peer's announcement came over `link`.
    pub(crate) fn announced(&self, link: &Link, announcement: &Announcement) {
        let from = link.peer().id();
        let changed = {
            let mut table = self.table();
            // What an older connection still held is out of date.
            if !link.peer().is_current(link) {
                return;
            }
            if announcement.full {
                table.greeted.insert(from, link.since());
            }
            table.apply(from, announcement)
        };
        // As above. A full list tells of any group, by what it does not name.
        match announcement.full {
            true => self.stir.all(),
            false => self.stir.groups(announcement.groups.iter().map(|(group, ..)| *group)),
        }
        if changed {
            self.touch();
        }
    }
}

fn send(link: &Link, announcement: &Announcement) {
    let mut frame = Outgoing::new(Kind::Announcement, GroupId::METADATA, announcement.len());
    announcement.encode(frame.body());
    link.notify(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId { topic: 7, partition: 0 };

    fn rows(full: bool, rows: &[(u64, bool)]) -> Announcement {
        let groups = rows.iter().map(|(term, leads)| (GROUP, *term, *leads)).collect();
        Announcement { full, groups }
    }

    fn best(table: &Table) -> Option<(u64, u64)> {
        table.groups.get(&GROUP)?.best().map(|known| (known.leader.0, known.term))
    }

    #[test]
    fn the_highest_term_wins_whoever_says_it() {
        let mut table = Table::default();
        assert!(table.apply(NodeId(1), &rows(false, &[(3, true)])));
        assert!(!table.apply(NodeId(2), &rows(false, &[(2, true)])));
        assert_eq!(best(&table), Some((1, 3)));
        assert!(table.change(GROUP, |k| {
            k.local = Some(Leadership { leader: NodeId(3), term: 4 });
        }));
        assert_eq!(best(&table), Some((3, 4)));
        table.change(GROUP, |known| known.local = None);
        assert!(table.apply(NodeId(1), &rows(false, &[(3, false)])));
        assert_eq!(best(&table), Some((2, 2)));
    }

    #[test]
    fn a_late_step_down_does_not_undo_a_newer_term() {
        let mut table = Table::default();
        table.apply(NodeId(1), &rows(false, &[(5, true)]));
        table.apply(NodeId(1), &rows(false, &[(4, false)]));
        assert_eq!(best(&table), Some((1, 5)));
    }

    #[test]
    fn whoever_handed_over_has_no_claims_and_whoever_was_replaced_has() {
        let mut table = Table::default();
        table.apply(NodeId(1), &rows(false, &[(5, true)]));
        table.apply(NodeId(2), &rows(false, &[(6, true)]));
        assert!(table.has_claims(NodeId(1)) && table.has_claims(NodeId(2)));
        table.apply(NodeId(2), &rows(false, &[(6, false)]));
        assert!(table.has_claims(NodeId(1)) && !table.has_claims(NodeId(2)));
    }

    #[test]
    fn a_full_list_replaces_all_of_its_node() {
        let mut table = Table::default();
        table.apply(NodeId(1), &rows(false, &[(5, true)]));
        assert!(table.apply(NodeId(1), &rows(true, &[])));
        assert!(table.groups.is_empty());
        table.apply(NodeId(1), &rows(true, &[(6, true)]));
        assert_eq!(best(&table), Some((1, 6)));
    }

    #[test]
    fn a_group_is_led_while_a_live_peer_claims_it() {
        let (one, two, me) = (NodeId(1), NodeId(2), NodeId(3));
        let since = Instant::now();
        let mut table = Table::default();
        let seen = |sight: Sight| move |node| if node == one { sight } else { Sight::Lost };
        let connected = Sight::Connected(since);
        let standing = |table: &Table, leader: Option<NodeId>, sight| {
            table.standing(GROUP, (leader, 5), me, seen(sight))
        };
        assert_eq!(standing(&table, None, connected), Standing::Vacant);
        assert_eq!(standing(&table, Some(me), connected), Standing::Vacant, "after a restart");
        assert_eq!(standing(&table, Some(one), connected), Standing::Unclear, "not greeted yet");
        assert_eq!(standing(&table, Some(one), Sight::Lost), Standing::Unclear);
        assert_eq!(standing(&table, Some(one), Sight::Dead), Standing::Gone);
        table.greeted.insert(one, since);
        assert_eq!(standing(&table, Some(one), connected), Standing::Unclaimed);
        table.apply(one, &rows(false, &[(4, true)]));
        assert_eq!(standing(&table, Some(one), connected), Standing::Unclaimed, "of an older term");
        table.apply(one, &rows(false, &[(5, true)]));
        assert_eq!(standing(&table, Some(one), connected), Standing::Led);
        assert_eq!(standing(&table, Some(two), connected), Standing::Led, "by another one by now");
        assert_eq!(standing(&table, Some(one), Sight::Lost), Standing::Unclear);
        assert_eq!(standing(&table, Some(one), Sight::Dead), Standing::Gone);
        let later = Sight::Connected(since + Duration::from_secs(1));
        assert_eq!(standing(&table, Some(one), later), Standing::Unclear, "a new connection");
    }
}
