//! Deadlines of one group.
//!
//! **Invariant:** `wake` is never later than the earliest deadline. A heartbeat moves a deadline
//! later without touching `wake`, so it costs no timer; the next tick finds the true one.

use std::sync::Arc;

use super::super::{Now, Tick};
use super::{ClassicGroup, Effects, Phase};

impl ClassicGroup {
    /// Time has passed: acts on every deadline up to `now`.
    pub fn tick(&mut self, now: Now, fx: &mut Effects) {
        self.pending.retain(|_, pending| pending.expires > now.tick);
        let expired: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_alive(now.tick))
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            tracing::info!(group = %self.id, member = %id, "member expired");
            self.remove_member(&id, fx);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now.tick) {
            self.sync_deadline = None;
            self.remove_debtors(fx);
        }
        self.after_removal(now, fx);
        self.expire_join(now, fx);
        if self.writes.retry.is_some_and(|at| at <= now.tick) {
            self.writes.retry = None;
            if matches!(self.phase, Phase::Empty | Phase::Stable) && !self.writes.is_under_way() {
                self.begin_write(fx);
            }
        }
        self.wake = self.earliest_deadline();
    }

    /// Members that were told the generation a rebalance timeout ago and have not synced.
    fn remove_debtors(&mut self, fx: &mut Effects) {
        let debtors: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, member)| member.owes_sync)
            .map(|(id, _)| id.clone())
            .collect();
        for id in debtors {
            tracing::info!(group = %self.id, member = %id, "member has not synced in time");
            self.remove_member(&id, fx);
        }
    }

    /// Starts the member's session over.
    pub(super) fn renew_session(&mut self, id: &str, tick: Tick) {
        if let Some(member) = self.members.get_mut(id) {
            let deadline = tick.after_ms(member.session_timeout_ms.into());
            member.session_deadline = deadline;
            self.arm(deadline);
        }
    }

    /// Asks to be woken at `deadline`.
    pub(super) fn arm(&mut self, deadline: Tick) {
        self.wake = Some(self.wake.map_or(deadline, |wake| wake.min(deadline)));
    }

    fn earliest_deadline(&self) -> Option<Tick> {
        let sessions = self
            .members
            .values()
            .filter(|member| !member.waits())
            .map(|member| member.session_deadline);
        let pending = self.pending.values().map(|pending| pending.expires);
        let join = match &self.phase {
            Phase::Preparing(preparing) if !preparing.overdue => Some(preparing.deadline),
            _ => None,
        };
        sessions.chain(pending).chain(join).chain(self.sync_deadline).chain(self.writes.retry).min()
    }
}
