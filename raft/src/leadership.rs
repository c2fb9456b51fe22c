//! Who leads which group, cluster-wide: what this node's groups say, and what peers announce.
//!
//! Every node announces what it leads: everything when a connection begins, every change at once.
//! So each node knows the leaders of groups of which it holds no replica.
//!
//! **Invariant:** the highest term wins. A peer's full list is queued under the same lock as its
//! changes, so that the two cannot overtake one another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::id::{GroupId, NodeId};
use crate::status::Leadership;
use crate::transport::{Link, Transport};
use crate::wire::{Announcement, Kind, Outgoing};

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
}

pub(crate) struct Leaderships {
    transport: Weak<Transport>,
    table: Mutex<Table>,
    version: watch::Sender<u64>,
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

impl Leaderships {
    pub(crate) fn new(transport: &Arc<Transport>) -> Self {
        Self {
            transport: Arc::downgrade(transport),
            table: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody's leader may be another one now, or may have died.
    pub(crate) fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
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

    /// A peer's announcement came.
    pub(crate) fn announced(&self, from: NodeId, announcement: &Announcement) {
        let changed = self.table().apply(from, announcement);
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
    fn a_full_list_replaces_all_of_its_node() {
        let mut table = Table::default();
        table.apply(NodeId(1), &rows(false, &[(5, true)]));
        assert!(table.apply(NodeId(1), &rows(true, &[])));
        assert!(table.groups.is_empty());
        table.apply(NodeId(1), &rows(true, &[(6, true)]));
        assert_eq!(best(&table), Some((1, 6)));
    }
}
