//! Static members (KIP-345): a process that restarts under its instance id takes its old place.

use std::sync::Arc;

use super::super::{GroupError, JoinAnswer, JoinRefusal, JoinRequest, Now, subscription};
use super::member::{Joining, Takeover};
use super::{ClassicGroup, Effects, Member, Phase, Token};

impl ClassicGroup {
    /// The member `old` is replaced by a new one with the same instance id. In a stable group that
    /// does not have to be assigned anew, the new member gets the old one's share.
    pub(super) fn take_over(
        &mut self,
        old: &Arc<str>,
        token: Token,
        request: &JoinRequest,
        now: Now,
        fx: &mut Effects,
    ) {
        let id = request.fresh_id.clone();
        let old_leader = self.leader.clone().unwrap_or_else(|| old.clone());
        let metadata = |group: &Self, id| {
            let protocol = group.protocol.as_deref().unwrap_or_default();
            group.members.get(id).map(|member| member.metadata(protocol)).unwrap_or_default()
        };
        let before = metadata(self, old);
        self.replace_member(old, &id, request, fx);
        self.renew_session(&id, now.tick);

        let stays = matches!(self.phase, Phase::Stable)
            && self.select_protocol() == self.protocol
            && self.same_topics(&before, &metadata(self, &id));
        let takeover = stays.then(|| {
            let skip_assignment = request.can_skip_assignment && self.is_leader(&id);
            // A leader that cannot be told to skip must not recognise itself: assignments that it
            // computed would not reach the members of a stable group.
            let leader = match &self.leader {
                Some(leader) if request.can_skip_assignment => leader.clone(),
                _ => old_leader,
            };
            Takeover { version: self.writes.wanted + 1, leader, skip_assignment }
        });
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(Joining { token, takeover });
        }
        if stays {
            self.request_write(fx);
        } else if !matches!(self.phase, Phase::Preparing(_)) {
            self.prepare_rebalance(now, fx);
        }
    }

    fn replace_member(
        &mut self,
        old: &Arc<str>,
        id: &Arc<str>,
        request: &JoinRequest,
        fx: &mut Effects,
    ) {
        let Some(mut member) = self.members.remove(old) else {
            unreachable!("instance {:?} names a member that is not there", request.instance_id)
        };
        if let Some(joining) = member.joining.take() {
            let error = GroupError::FencedInstanceId;
            let refusal = JoinRefusal { error, member_id: old.clone() };
            fx.joins.push((joining.token, Err(refusal)));
        }
        if let Some(syncing) = member.syncing.take() {
            fx.syncs.push((syncing, Err(GroupError::FencedInstanceId)));
        }
        member.update(request);
        if let Some(instance) = &request.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
    }

    /// Whether a restarted consumer subscribes to what it did before. Its bytes may differ all the
    /// same: they also list the partitions it held when it last joined. Of other protocol types
    /// nothing is known, and like Kafka we go by the selected protocol alone.
    fn same_topics(&self, before: &[u8], after: &[u8]) -> bool {
        if before == after || self.protocol_type.as_deref() != Some(subscription::CONSUMER) {
            return true;
        }
        match (subscription::topics(before), subscription::topics(after)) {
            (Some(before), Some(after)) => before == after,
            (None, None) => true,
            _ => false,
        }
    }

    /// Answers the takeovers that `version` contains.
    pub(super) fn answer_takeovers(
        &mut self,
        version: u64,
        outcome: Result<(), GroupError>,
        now: Now,
        fx: &mut Effects,
    ) {
        let ready = |member: &Member| {
            let takeover = member.joining.as_ref().and_then(|joining| joining.takeover.as_ref());
            takeover.is_some_and(|takeover| takeover.version <= version)
        };
        let ready: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, member)| ready(member))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ready {
            let joining = self.members.get_mut(&id).and_then(|member| member.joining.take());
            let Some(Joining { token, takeover: Some(takeover) }) = joining else { continue };
            self.renew_session(&id, now.tick);
            let answer = match outcome {
                Ok(()) => Ok(self.takeover_answer(&id, takeover)),
                Err(error) => Err(JoinRefusal { error, member_id: Arc::from("") }),
            };
            fx.joins.push((token, answer));
        }
    }

    fn takeover_answer(&self, id: &Arc<str>, takeover: Takeover) -> JoinAnswer {
        let Takeover { leader, skip_assignment, .. } = takeover;
        let members = if skip_assignment { self.join_members() } else { Vec::new() };
        JoinAnswer { leader, skip_assignment, members, ..self.join_answer(id) }
    }
}
