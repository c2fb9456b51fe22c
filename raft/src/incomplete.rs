//! Which replicas are being refilled, cluster-wide: each node tells its peers which of its own are.
//!
//! Everything is told when a connection begins, every change at once, in the form of an
//! [`Announcement`] without terms.
//!
//! **Invariant:** a peer's full list is queued under the same lock as its changes, so that the two
//! cannot overtake one another.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::id::{GroupId, NodeId};
use crate::transport::{Link, Transport};
use crate::wire::{Announcement, Kind, Outgoing};

/// What this node and its peers have told.
pub(crate) struct Incomplete {
    transport: Weak<Transport>,
    told: Mutex<HashMap<NodeId, HashSet<GroupId>>>,
}

impl Incomplete {
    pub(crate) fn new(transport: &Arc<Transport>) -> Self {
        Self { transport: Arc::downgrade(transport), told: Mutex::default() }
    }

    fn told(&self) -> MutexGuard<'_, HashMap<NodeId, HashSet<GroupId>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the replica of `group` on `node` is being refilled, as far as is known here.
    pub(crate) fn contains(&self, group: GroupId, node: NodeId) -> bool {
        self.told().get(&node).is_some_and(|groups| groups.contains(&group))
    }

    /// This node's replica of `group` is being refilled, or is no longer. Tells the peers.
    pub(crate) fn set_local(&self, group: GroupId, refilling: bool) {
        let Some(transport) = self.transport.upgrade() else { return };
        let mut told = self.told();
        let announcement = Announcement { full: false, groups: vec![(group, 0, refilling)] };
        apply(told.entry(transport.me()).or_default(), &announcement);
        for link in transport.links() {
            send(&link, &announcement);
        }
    }

    /// Tells a peer that has just connected everything.
    pub(crate) fn greet(&self, link: &Link) {
        let Some(transport) = self.transport.upgrade() else { return };
        let told = self.told();
        let groups = told.get(&transport.me()).into_iter().flatten();
        let groups = groups.map(|group| (*group, 0, true)).collect();
        send(link, &Announcement { full: true, groups });
    }

    /// A peer's announcement came.
    pub(crate) fn announced(&self, from: NodeId, announcement: &Announcement) {
        apply(self.told().entry(from).or_default(), announcement);
    }
}

fn apply(known: &mut HashSet<GroupId>, announcement: &Announcement) {
    if announcement.full {
        known.clear();
    }
    for (group, _, refilling) in &announcement.groups {
        if *refilling {
            known.insert(*group);
        } else {
            known.remove(group);
        }
    }
}

fn send(link: &Link, announcement: &Announcement) {
    let mut frame = Outgoing::new(Kind::Incomplete, GroupId::METADATA, announcement.len());
    announcement.encode(frame.body());
    link.notify(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_replaces_what_was_told_before() {
        let group = |partition| GroupId { topic: 7, partition };
        let mut known = HashSet::new();
        let row = |partition, refilling| (group(partition), 0, refilling);
        let told = |full, groups| Announcement { full, groups };
        apply(&mut known, &told(false, vec![row(1, true), row(2, true)]));
        apply(&mut known, &told(false, vec![row(1, false), row(9, false)]));
        assert_eq!(known, [group(2)].into());
        apply(&mut known, &told(true, vec![row(3, true)]));
        assert_eq!(known, [group(3)].into());
    }
}
