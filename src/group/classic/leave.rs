//! LeaveGroup, and what any departure of a member entails.

use std::sync::Arc;

use super::super::{GroupError, JoinRefusal, LeaveMember, Now};
use super::{ClassicGroup, Effects, Phase};

impl ClassicGroup {
    /// Members leave; one outcome each, in order.
    pub fn leave(
        &mut self,
        members: &[LeaveMember],
        now: Now,
        fx: &mut Effects,
    ) -> Vec<Result<(), GroupError>> {
        let outcomes = members.iter().map(|member| self.leave_one(member, fx)).collect();
        self.after_removal(now, fx);
        outcomes
    }

    fn leave_one(&mut self, leaver: &LeaveMember, fx: &mut Effects) -> Result<(), GroupError> {
        let LeaveMember { member_id, instance_id } = leaver;
        if instance_id.is_none() && self.pending.remove(member_id).is_some() {
            return Ok(());
        }
        // An administrator removes a static member by its instance id alone.
        let by_instance = instance_id.as_ref().filter(|_| member_id.is_empty());
        let member_id = match by_instance {
            Some(instance) => {
                self.instances.get(instance).cloned().ok_or(GroupError::UnknownMemberId)?
            }
            None => {
                self.validate_member(member_id, instance_id.as_ref())?;
                member_id.clone()
            }
        };
        self.remove_member(&member_id, fx);
        Ok(())
    }

    /// Takes a member out and answers what it waits for. The caller follows with
    /// [`ClassicGroup::after_removal`].
    pub(super) fn remove_member(&mut self, id: &Arc<str>, fx: &mut Effects) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        let error = GroupError::UnknownMemberId;
        if let Some(joining) = member.joining {
            let refusal = JoinRefusal { error, member_id: Arc::from("") };
            fx.joins.push((joining.token, Err(refusal)));
        }
        if let Some(token) = member.syncing {
            fx.syncs.push((token, Err(error)));
        }
        if self.is_leader(id) {
            let eldest = self.members.iter().min_by_key(|(_, member)| member.arrival);
            self.leader = eldest.map(|(id, _)| id.clone());
        }
        self.departed = true;
    }

    /// Rebalances if members have gone, or completes a rebalance that waited only for them.
    pub(super) fn after_removal(&mut self, now: Now, fx: &mut Effects) {
        let departed = std::mem::take(&mut self.departed);
        if departed && matches!(self.phase, Phase::Stable | Phase::Completing(_)) {
            self.prepare_rebalance(now, fx);
        }
        self.try_complete_join(now, fx);
    }
}
