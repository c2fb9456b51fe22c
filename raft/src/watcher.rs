//! One small task per group: turns openraft's metrics into [`GroupStatus`], tells the node who
//! leads, and renews a leader's lease that ran out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;

use crate::adapter::{Fatal, GroupSignals, Metrics, Raft, RaftStoredMembership, from_log_id};
use crate::counts::Counts;
use crate::id::{GroupId, NodeId};
use crate::leadership::Leaderships;
use crate::status::{GroupStatus, Leadership, Role};

pub(crate) struct Watcher {
    pub(crate) group: GroupId,
    pub(crate) raft: Raft,
    pub(crate) signals: Arc<GroupSignals>,
    pub(crate) leaderships: Arc<Leaderships>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) status: watch::Sender<GroupStatus>,
    pub(crate) role: watch::Sender<Role>,
}

impl Watcher {
    /// Runs until the group ends.
    pub(crate) async fn run(self) {
        let mut metrics = self.raft.metrics();
        let mut membership = None;
        loop {
            self.publish(&metrics.borrow_watched(), &mut membership);
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() {
                    break;
                },
                () = self.signals.abdicates.notified() => self.abdicate(),
                () = self.signals.lease_expired.notified() => {
                    // Fails only where the group has ended, which the metrics then tell.
                    let _ = self.raft.trigger().heartbeat().await;
                }
            }
        }
        self.status.send_modify(|status| {
            (status.leader, status.is_leader, status.leader_ready) = (None, false, false);
        });
        self.publish_role();
        self.leaderships.set_local(self.group, None, false);
    }

    /// Claims the group no longer, so that somebody is elected also where the one who was asked to take
    /// over does not: openraft itself would wait for ever.
    fn abdicate(&self) {
        let status = self.status.borrow().clone();
        if status.is_leader {
            let local = Leadership { leader: *self.raft.node_id(), term: status.term };
            self.leaderships.set_local(self.group, Some(local), false);
            self.signals.announced.set(None);
        }
    }

    fn publish_role(&self) {
        let fresh = self.status.borrow().role();
        self.role.send_if_modified(|role| {
            let changed = *role != fresh;
            *role = fresh;
            changed
        });
    }

    fn publish(&self, metrics: &Metrics, membership: &mut Option<Arc<RaftStoredMembership>>) {
        let same = |known: &Arc<_>| Arc::ptr_eq(known, &metrics.membership_config);
        let members_changed = !membership.as_ref().is_some_and(same);
        if members_changed {
            *membership = Some(metrics.membership_config.clone());
        }
        self.signals.term.store(metrics.current_term, Ordering::Relaxed);
        let (mut leadership_changed, mut became_ready, mut won) = (false, false, false);
        self.status.send_if_modified(|status| {
            let before = (status.term, status.leader, status.is_leader);
            let mut fresh = self.status_of(metrics, status);
            if members_changed {
                let config = metrics.membership_config.membership();
                fresh.voters = Arc::new(config.voter_ids().collect());
                fresh.learners = Arc::new(config.learner_ids().collect());
            }
            leadership_changed = before != (fresh.term, fresh.leader, fresh.is_leader);
            became_ready = fresh.leader_ready && !status.leader_ready;
            won = fresh.is_leader && (!status.is_leader || status.term != fresh.term);
            if status.fault.is_none()
                && let Some(fault) = &fresh.fault
            {
                // Said here, once: openraft's own log speaks of every ordinary stop as well.
                tracing::error!(group = %self.group, %fault, "the group has stopped on this node");
            }
            let changed = *status != fresh;
            *status = fresh;
            changed
        });
        if won {
            self.counts.won();
        }
        if leadership_changed {
            let status = self.status.borrow().clone();
            let term = status.term;
            let local = status.leader.map(|leader| Leadership { leader, term });
            self.signals.abdicated.store(false, Ordering::Release);
            self.leaderships.set_local(self.group, local, status.is_leader);
            self.signals.announced.set(status.is_leader.then(Instant::now));
        }
        if became_ready {
            // Not before now is this node named as the leader: a majority has confirmed it.
            self.leaderships.touch();
        }
        self.publish_role();
    }

    fn status_of(&self, metrics: &Metrics, old: &GroupStatus) -> GroupStatus {
        let fault = match &metrics.running_state {
            Ok(()) | Err(Fatal::Stopped) => None,
            Err(fatal) => Some(Arc::from(fatal.to_string())),
        };
        let running = metrics.running_state.is_ok();
        let is_leader = running && metrics.state == ServerState::Leader;
        let applied = metrics.last_applied.as_ref().map(from_log_id);
        // Entries of a term are appended by its leader alone, its blank first: any applied entry
        // of the own term means that the blank was applied.
        let own_applied = applied.is_some_and(|applied| applied.term == metrics.current_term);
        GroupStatus {
            term: metrics.current_term,
            // Term 0 is the bootstrap's, which nobody leads.
            leader: metrics.current_leader.filter(|_| running && metrics.current_term > 0),
            is_leader,
            leader_ready: is_leader && own_applied,
            last: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(|committed| committed.index),
            applied,
            purged: metrics.purged.as_ref().map(from_log_id),
            voters: old.voters.clone(),
            learners: old.learners.clone(),
            replication: replication(metrics, &old.replication),
            fault,
        }
    }
}

/// What each member holds; the old map where nothing changed, so that nothing is allocated.
fn replication(metrics: &Metrics, old: &Arc<BTreeMap<NodeId, u64>>) -> Arc<BTreeMap<NodeId, u64>> {
    let matched = || {
        let members = metrics.replication.iter().flatten();
        members.filter_map(|(node, matched)| Some((*node, matched.as_ref()?.index)))
    };
    if matched().eq(old.iter().map(|(node, index)| (*node, *index))) {
        return old.clone();
    }
    Arc::new(matched().collect())
}
