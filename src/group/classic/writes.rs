//! Which state of the group is stored, and what waits for it.
//!
//! **Invariant:** while a write is under way no other is begun; what changed meanwhile follows it.

use super::super::{GroupError, GroupRecord, MemberRecord, Now, StoreError, Tick};
use super::{ClassicGroup, Completing, Effects, Phase, Write};

/// After a failed write of a group whose members wait for nothing.
const RETRY_MS: i64 = 1_000;

/// The versions of a group's record.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The newest that is wanted; 0 if none ever was.
    pub(super) wanted: u64,
    under_way: Option<u64>,
    /// When to write again after a failure.
    pub(super) retry: Option<Tick>,
}

impl Writes {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether nothing was ever stored or is to be.
    pub(super) fn is_untouched(&self) -> bool {
        self.wanted == 0
    }

    /// For a group that comes from the store.
    pub(super) fn loaded() -> Self {
        Self { wanted: 1, ..Self::default() }
    }
}

impl ClassicGroup {
    /// Wants the current state stored; returns the version that will contain it.
    pub(super) fn request_write(&mut self, fx: &mut Effects) -> u64 {
        self.writes.wanted += 1;
        if !self.writes.is_under_way() {
            self.begin_write(fx);
        }
        self.writes.wanted
    }

    pub(super) fn begin_write(&mut self, fx: &mut Effects) {
        assert!(!self.writes.is_under_way() && fx.write.is_none(), "one write at a time");
        let version = self.writes.wanted;
        self.writes.under_way = Some(version);
        self.writes.retry = None;
        fx.write = Some(Write { version, record: self.record() });
    }

    /// The outcome of a write.
    pub fn written(
        &mut self,
        version: u64,
        outcome: Result<(), StoreError>,
        now: Now,
        fx: &mut Effects,
    ) {
        assert_eq!(self.writes.under_way.take(), Some(version), "an outcome of no write");
        match outcome {
            Ok(()) => self.after_write(version, now, fx),
            Err(error) => self.after_failed_write(version, error.into(), now, fx),
        }
        let settled = matches!(self.phase, Phase::Empty | Phase::Stable);
        if settled && self.writes.wanted > version && !self.writes.is_under_way() {
            self.begin_write(fx);
        }
        self.try_complete_join(now, fx);
    }

    fn after_write(&mut self, version: u64, now: Now, fx: &mut Effects) {
        match &mut self.phase {
            Phase::Completing(step) => match std::mem::replace(step, Completing::AwaitingLeader) {
                Completing::Announcing => self.announce(now, fx),
                Completing::Assigning(assignments) => self.assign(assignments, now, fx),
                Completing::AwaitingLeader => {}
            },
            Phase::Stable => self.answer_takeovers(version, Ok(()), now, fx),
            Phase::Preparing(_) | Phase::Empty => {}
        }
    }

    /// The state in memory is ahead of the stored one. Whoever waited for the write is told to
    /// come again; the next generation has a higher number in any case, so that it does not matter
    /// whether this one was stored after all.
    fn after_failed_write(&mut self, version: u64, error: GroupError, now: Now, fx: &mut Effects) {
        match &self.phase {
            Phase::Completing(Completing::Announcing) => {
                self.refuse_joins(error, now, fx);
                self.prepare_rebalance(now, fx);
            }
            Phase::Completing(Completing::Assigning(_)) => {
                self.refuse_syncs(error, now, fx);
                self.prepare_rebalance(now, fx);
            }
            Phase::Stable => {
                self.answer_takeovers(version, Err(error), now, fx);
                self.retry_write(now);
            }
            Phase::Empty => self.retry_write(now),
            Phase::Completing(Completing::AwaitingLeader) | Phase::Preparing(_) => {}
        }
    }

    fn retry_write(&mut self, now: Now) {
        let at = now.tick.after_ms(RETRY_MS);
        self.writes.retry = Some(at);
        self.arm(at);
    }

    /// What a successor needs to go on from here.
    pub(super) fn record(&self) -> GroupRecord {
        let assigning = match &self.phase {
            Phase::Completing(Completing::Assigning(assignments)) => Some(assignments),
            _ => None,
        };
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.arrival);
        let record = |(id, member): (&std::sync::Arc<str>, &super::Member)| MemberRecord {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: match assigning {
                Some(assignments) => assignments.get(id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        };
        GroupRecord {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            assigned: assigning.is_some() || matches!(self.phase, Phase::Stable),
            state_since: self.state_since,
            members: members.into_iter().map(record).collect(),
        }
    }
}
