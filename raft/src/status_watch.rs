//! A group's status, derived from openraft's metrics whenever somebody looks: while entries flow, it costs only those
//! who wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use crate::adapter::{Fatal, Metrics, MetricsWatch, RaftStoredMembership, from_log_id};
use crate::error::Ended;
use crate::id::NodeId;
use crate::status::GroupStatus;

/// A group as this node sees it, now and as it changes. A clone has seen what this one has.
#[derive(Clone)]
pub struct StatusWatch {
    metrics: MetricsWatch,
    members: Arc<Mutex<Members>>,
    /// openraft tells of its metrics at every turn, changed or not.
    seen: GroupStatus,
}

/// Who takes part, of one configuration: derived when it changes, and not at each look.
#[derive(Default)]
struct Members {
    of: Option<Arc<RaftStoredMembership>>,
    voters: Arc<BTreeSet<NodeId>>,
    learners: Arc<BTreeSet<NodeId>>,
}

impl StatusWatch {
    pub(crate) fn new(metrics: MetricsWatch) -> Self {
        let mut watch = Self { metrics, members: Arc::default(), seen: GroupStatus::default() };
        watch.borrow_and_update();
        watch
    }

    /// The status now.
    pub fn borrow(&self) -> GroupStatus {
        let is_over = self.metrics.is_closed();
        status_of(&self.metrics.borrow_watched(), is_over, &self.members)
    }

    /// The status now; [`changed`](Self::changed) waits for another one.
    pub fn borrow_and_update(&mut self) -> GroupStatus {
        let is_over = self.metrics.is_closed();
        self.seen = status_of(&self.metrics.borrow_and_update(), is_over, &self.members);
        self.seen.clone()
    }

    /// Resolves once the status is another one than was seen last.
    ///
    /// # Errors
    /// The group has ended on this node, and its last status was seen.
    pub async fn changed(&mut self) -> Result<(), Ended> {
        loop {
            let ended = self.metrics.changed().await.is_err();
            let before = std::mem::take(&mut self.seen);
            if self.borrow_and_update() != before {
                return Ok(());
            }
            if ended {
                return Err(Ended);
            }
        }
    }

    /// The first status from now on that meets `condition`.
    ///
    /// # Errors
    /// The group has ended on this node.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&GroupStatus) -> bool,
    ) -> Result<GroupStatus, Ended> {
        loop {
            let status = self.borrow_and_update();
            if condition(&status) {
                return Ok(status);
            }
            if self.metrics.changed().await.is_err() {
                return Some(self.borrow()).filter(condition).ok_or(Ended);
            }
        }
    }

    /// Whether the group has ended on this node.
    pub(crate) fn has_ended(&self) -> bool {
        self.metrics.is_closed() || self.metrics.borrow_watched().running_state.is_err()
    }

    /// The term that this node leads, if it leads.
    pub(crate) fn leads(&self) -> Option<u64> {
        let is_over = self.metrics.is_closed();
        let metrics = self.metrics.borrow_watched();
        is_leader(&metrics, is_over).then_some(metrics.current_term)
    }

    /// The members with a vote.
    pub(crate) fn voters(&self) -> Arc<BTreeSet<NodeId>> {
        let config = self.metrics.borrow_watched().membership_config.clone();
        members(&config, &self.members).0
    }
}

fn members(
    config: &Arc<RaftStoredMembership>,
    known: &Mutex<Members>,
) -> (Arc<BTreeSet<NodeId>>, Arc<BTreeSet<NodeId>>) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, config)) {
        let membership = config.membership();
        *known = Members {
            of: Some(config.clone()),
            voters: Arc::new(membership.voter_ids().collect()),
            learners: Arc::new(membership.learner_ids().collect()),
        };
    }
    (known.voters.clone(), known.learners.clone())
}

fn is_leader(metrics: &Metrics, is_over: bool) -> bool {
    !is_over && metrics.running_state.is_ok() && metrics.state == ServerState::Leader
}

fn status_of(metrics: &Metrics, is_over: bool, known: &Mutex<Members>) -> GroupStatus {
    let fault = match &metrics.running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(fatal) => Some(Arc::from(fatal.to_string())),
    };
    let running = !is_over && metrics.running_state.is_ok();
    let is_leader = is_leader(metrics, is_over);
    let applied = metrics.last_applied.as_ref().map(from_log_id);
    // Entries of a term are appended by its leader alone, its blank first: any applied entry
    // of the own term means that the blank was applied.
    let own_applied = applied.is_some_and(|applied| applied.term == metrics.current_term);
    let (voters, learners) = members(&metrics.membership_config, known);
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
        voters,
        learners,
        replication: replication(metrics),
        fault,
    }
}

/// What each member is known to hold.
fn replication(metrics: &Metrics) -> BTreeMap<NodeId, u64> {
    let members = metrics.replication.iter().flatten();
    members.filter_map(|(node, matched)| Some((*node, matched.as_ref()?.index))).collect()
}
