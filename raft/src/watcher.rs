//! One small task per group: tells the node who leads, as openraft's metrics say, and renews a leader's lease that
//! ran out. It sleeps while entries flow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;

use crate::adapter::{GroupSignals, MetricsWatch, Raft, ServerMetricsWatch};
use crate::counts::Counts;
use crate::id::GroupId;
use crate::leadership::Leaderships;
use crate::status::{Leadership, Role};
use crate::status_watch::StatusWatch;

pub(crate) struct Watcher {
    pub(crate) group: GroupId,
    pub(crate) raft: Raft,
    pub(crate) signals: Arc<GroupSignals>,
    pub(crate) leaderships: Arc<Leaderships>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) status: StatusWatch,
    pub(crate) role: watch::Sender<Role>,
}

/// What of openraft's metrics changes at elections only, and all of them. The former are sent first.
struct News {
    server: ServerMetricsWatch,
    all: MetricsWatch,
}

impl News {
    /// Whether all metrics say what those of elections say.
    fn agree(&mut self) -> bool {
        let server = self.server.borrow_and_update();
        let all = self.all.borrow_and_update();
        (all.vote, all.state, all.current_leader)
            == (server.vote, server.state, server.current_leader)
    }

    /// Resolves once there is something new; an error when the group has ended.
    async fn come(&mut self, of_all: bool) -> Result<(), ()> {
        let come = tokio::select! {
            come = self.all.changed(), if of_all => come,
            come = self.server.changed() => come,
        };
        come.map_err(|_| ())
    }
}

impl Watcher {
    /// Runs until the group ends.
    pub(crate) async fn run(self) {
        let mut news = News { server: self.raft.server_metrics(), all: self.raft.metrics() };
        loop {
            let agree = news.agree();
            let role = self.publish();
            // A new leader becomes ready by an entry that it applies.
            let of_all = !agree || role.is_leader && !role.ready;
            tokio::select! {
                come = news.come(of_all) => if come.is_err() {
                    break;
                },
                () = self.signals.abdicates.notified() => self.abdicate(),
                () = self.signals.untold.notified() => self.leaderships.stir(self.group),
                () = self.signals.lease_expired.notified() => {
                    // Fails only where the group has ended, which the metrics then tell.
                    let _ = self.raft.trigger().heartbeat().await;
                }
            }
        }
        let status = self.status.borrow();
        if let Some(fault) = &status.fault {
            // Said here, once: openraft's own log speaks of every ordinary stop as well.
            tracing::error!(group = %self.group, %fault, "the group has stopped on this node");
        }
        self.role.send_replace(Role { term: status.term, ..Role::default() });
        self.leaderships.set_local(self.group, None, false);
    }

    /// Claims the group no longer, so that somebody is elected also where the one who was asked to take
    /// over does not: openraft itself would wait for ever.
    fn abdicate(&self) {
        let role = *self.role.borrow();
        if role.is_leader {
            let local = Leadership { leader: *self.raft.node_id(), term: role.term };
            self.leaderships.set_local(self.group, Some(local), false);
            self.signals.announced.set(None);
        }
    }

    /// Tells whom it concerns of what has changed since the last time; what holds now.
    fn publish(&self) -> Role {
        let (old, role) = (*self.role.borrow(), self.status.borrow().role());
        if old == role {
            return role;
        }
        let Role { term, leader, is_leader, .. } = role;
        self.signals.term.store(term, Ordering::Relaxed);
        if is_leader && (!old.is_leader || old.term != term) {
            self.counts.won();
        }
        if (old.term, old.leader, old.is_leader) != (term, leader, is_leader) {
            let local = leader.map(|leader| Leadership { leader, term });
            self.signals.abdicated.store(false, Ordering::Release);
            self.leaderships.set_local(self.group, local, is_leader);
            self.signals.announced.set(is_leader.then(Instant::now));
        }
        self.role.send_replace(role);
        if is_leader {
            // Only now does this node name itself. Where it was elected long before it became ready, it has stopped to.
            self.leaderships.touch();
        }
        // Only now: it looks at the role.
        self.leaderships.stir(self.group);
        role
    }
}
