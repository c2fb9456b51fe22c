//! From one generation to the next.

use std::sync::Arc;

use super::super::{GroupError, JoinRefusal, Now};
use super::member::Joining;
use super::{ClassicGroup, Completing, Effects, InitialDelay, Member, Phase, Preparing};

impl ClassicGroup {
    /// Calls all members back. Joins that are still unanswered count for the generation to come.
    pub(super) fn prepare_rebalance(&mut self, now: Now, fx: &mut Effects) {
        if matches!(self.phase, Phase::Completing(_)) {
            self.refuse_syncs(GroupError::RebalanceInProgress, now, fx);
        }
        self.sync_deadline = None;
        for member in self.members.values_mut() {
            member.owes_sync = false;
            if let Some(joining) = &mut member.joining {
                joining.takeover = None;
            }
        }
        let timeout_ms = self.rebalance_timeout_ms();
        let delay_ms = i64::from(self.options.initial_rebalance_delay_ms);
        let preparing = if matches!(self.phase, Phase::Empty) && delay_ms > 0 {
            let latest = now.tick.after_ms(timeout_ms.max(delay_ms));
            let initial = Some(InitialDelay { latest, extended: false });
            Preparing { deadline: now.tick.after_ms(delay_ms), initial, overdue: false }
        } else {
            Preparing { deadline: now.tick.after_ms(timeout_ms), initial: None, overdue: false }
        };
        self.arm(preparing.deadline);
        self.enter(Phase::Preparing(preparing), now.wall);
    }

    /// Begins the generation if there is nobody left to wait for.
    pub(super) fn try_complete_join(&mut self, now: Now, fx: &mut Effects) {
        let Phase::Preparing(preparing) = &self.phase else { return };
        let all_joined = preparing.initial.is_none()
            && self.pending.is_empty()
            && self.members.values().all(|member| member.joining.is_some());
        if (all_joined || preparing.overdue) && !self.writes.is_under_way() {
            self.complete_join(now, fx);
        }
    }

    /// The time to join is up.
    pub(super) fn expire_join(&mut self, now: Now, fx: &mut Effects) {
        let delay_ms = i64::from(self.options.initial_rebalance_delay_ms);
        let Phase::Preparing(preparing) = &mut self.phase else { return };
        if preparing.deadline > now.tick || preparing.overdue {
            return;
        }
        if let Some(initial) = &mut preparing.initial
            && std::mem::take(&mut initial.extended)
            && preparing.deadline < initial.latest
        {
            preparing.deadline = initial.latest.min(now.tick.after_ms(delay_ms));
            return;
        }
        preparing.overdue = true;
        self.try_complete_join(now, fx);
    }

    fn complete_join(&mut self, now: Now, fx: &mut Effects) {
        let gone: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove_member(&id, fx);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members that have not come back: their sessions decide.
            let deadline = now.tick.after_ms(self.rebalance_timeout_ms().max(1));
            self.arm(deadline);
            let preparing = Preparing { deadline, initial: None, overdue: false };
            self.phase = Phase::Preparing(preparing);
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        for member in self.members.values_mut() {
            member.assignment = bytes::Bytes::new();
        }
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.enter(Phase::Empty, now.wall);
        } else {
            self.protocol = self.select_protocol();
            assert!(self.protocol.is_some(), "each join was checked against all members");
            self.enter(Phase::Completing(Completing::Announcing), now.wall);
        }
        self.request_write(fx);
    }

    /// The generation is stored: its members may know.
    pub(super) fn announce(&mut self, now: Now, fx: &mut Effects) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.owes_sync = true;
            let joining = member.joining.take();
            self.renew_session(&id, now.tick);
            if let Some(joining) = joining {
                fx.joins.push((joining.token, Ok(self.join_answer(&id))));
            }
        }
        self.expect_syncs(now);
    }

    /// Gives the members one rebalance timeout to fetch their shares.
    pub(super) fn expect_syncs(&mut self, now: Now) {
        let deadline = now.tick.after_ms(self.rebalance_timeout_ms().max(1));
        self.sync_deadline = Some(deadline);
        self.arm(deadline);
    }

    /// Refuses every join that waits; its member may come again, so its session starts over.
    pub(super) fn refuse_joins(&mut self, error: GroupError, now: Now, fx: &mut Effects) {
        let waiting: Vec<(Arc<str>, Joining)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| Some((id.clone(), member.joining.take()?)))
            .collect();
        for (id, joining) in waiting {
            self.renew_session(&id, now.tick);
            fx.joins.push((joining.token, Err(JoinRefusal { error, member_id: id })));
        }
    }

    fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.joining.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(joined) {
            return true;
        }
        let joined = self.members.iter().filter(|(_, member)| joined(member));
        match joined.min_by_key(|(_, member)| member.arrival) {
            Some((id, _)) => {
                self.leader = Some(id.clone());
                true
            }
            None => false,
        }
    }

    /// The protocol that all members support and most prefer; on a tie the one that the longest
    /// member prefers. `None` without members.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let eldest = self.members.values().min_by_key(|member| member.arrival)?;
        let shared = |name: &str| self.members.values().all(|member| member.supports(name));
        let candidates: Vec<&Arc<str>> =
            eldest.protocols.iter().map(|(name, _)| name).filter(|name| shared(name)).collect();
        let mut votes = vec![0_usize; candidates.len()];
        for member in self.members.values() {
            let vote = member
                .protocols
                .iter()
                .find_map(|(name, _)| candidates.iter().position(|candidate| *candidate == name));
            if let Some(vote) = vote {
                votes[vote] += 1;
            }
        }
        let most = votes.iter().copied().max()?;
        votes.iter().position(|count| *count == most).map(|at| candidates[at].clone())
    }
}
