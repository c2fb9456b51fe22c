//! SyncGroup: the leader brings the assignments, every member takes its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::{GroupError, Now, SyncAnswer, SyncRequest};
use super::{ClassicGroup, Completing, Effects, Phase, Token};

impl ClassicGroup {
    /// A member asks for its share. The answer may come at once or with a later event.
    pub fn sync(&mut self, token: Token, request: SyncRequest, now: Now, fx: &mut Effects) {
        if let Err(error) = self.try_sync(token, request, now, fx) {
            fx.syncs.push((token, Err(error)));
        }
    }

    fn try_sync(
        &mut self,
        token: Token,
        request: SyncRequest,
        now: Now,
        fx: &mut Effects,
    ) -> Result<(), GroupError> {
        let claim = &request.claim;
        self.validate_member(&claim.member_id, claim.instance_id.as_ref())?;
        self.validate_generation(claim.generation)?;
        let differs = |claimed: &Option<Arc<str>>, actual: &Option<Arc<str>>| {
            claimed.is_some() && actual.is_some() && claimed != actual
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match &self.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            // A generation that was not announced can only be a guess.
            Phase::Preparing(_) | Phase::Completing(Completing::Announcing) => {
                Err(GroupError::RebalanceInProgress)
            }
            Phase::Completing(_) => self.await_assignment(token, request, fx),
            Phase::Stable => {
                let id = claim.member_id.clone();
                self.renew_session(&id, now.tick);
                let member = self.members.get_mut(&id).ok_or(GroupError::UnknownMemberId)?;
                member.owes_sync = false;
                let assignment = member.assignment.clone();
                fx.syncs.push((token, Ok(self.sync_answer(assignment))));
                Ok(())
            }
        }
    }

    fn await_assignment(
        &mut self,
        token: Token,
        request: SyncRequest,
        fx: &mut Effects,
    ) -> Result<(), GroupError> {
        let id = &request.claim.member_id;
        let bytes: usize = request.assignments.iter().map(|(_, share)| share.len()).sum();
        if self.is_leader(id) && bytes > self.options.group_bytes_max {
            return Err(GroupError::AssignmentTooLarge);
        }
        let member = self.members.get_mut(id).ok_or(GroupError::UnknownMemberId)?;
        member.owes_sync = false;
        if let Some(superseded) = member.syncing.replace(token) {
            fx.syncs.push((superseded, Err(GroupError::RebalanceInProgress)));
        }
        if self.is_leader(id) && matches!(self.phase, Phase::Completing(Completing::AwaitingLeader))
        {
            let mut assignments: BTreeMap<Arc<str>, Bytes> =
                request.assignments.into_iter().collect();
            assignments.retain(|id, _| self.members.contains_key(id));
            self.phase = Phase::Completing(Completing::Assigning(assignments));
            self.request_write(fx);
        }
        Ok(())
    }

    /// The assignments are stored: hands them out.
    pub(super) fn assign(
        &mut self,
        mut assignments: BTreeMap<Arc<str>, Bytes>,
        now: Now,
        fx: &mut Effects,
    ) {
        self.enter(Phase::Stable, now.wall);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = assignments.remove(&id).unwrap_or_default();
            let assignment = member.assignment.clone();
            if let Some(token) = member.syncing.take() {
                self.renew_session(&id, now.tick);
                fx.syncs.push((token, Ok(self.sync_answer(assignment))));
            }
        }
    }

    fn sync_answer(&self, assignment: Bytes) -> SyncAnswer {
        SyncAnswer {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// Refuses every sync that waits; its member may come again, so its session starts over.
    pub(super) fn refuse_syncs(&mut self, error: GroupError, now: Now, fx: &mut Effects) {
        let waiting: Vec<(Arc<str>, Token)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| Some((id.clone(), member.syncing.take()?)))
            .collect();
        for (id, token) in waiting {
            self.renew_session(&id, now.tick);
            fx.syncs.push((token, Err(error)));
        }
    }
}
