//! JoinGroup: who may come in, and under which id.

use std::sync::Arc;

use super::super::{GroupError, JoinAnswer, JoinMember, JoinRefusal, JoinRequest, Now};
use super::member::{Joining, Member, Pending, protocol_bytes};
use super::{ClassicGroup, Completing, Effects, Phase, Token};

impl ClassicGroup {
    /// A client wants to be a member. The answer may come at once or with a later event.
    pub fn join(&mut self, token: Token, request: &JoinRequest, now: Now, fx: &mut Effects) {
        if let Err(refusal) = self.try_join(token, request, now, fx) {
            fx.joins.push((token, Err(refusal)));
        }
        self.try_complete_join(now, fx);
    }

    fn try_join(
        &mut self,
        token: Token,
        request: &JoinRequest,
        now: Now,
        fx: &mut Effects,
    ) -> Result<(), JoinRefusal> {
        let refuse = |error| JoinRefusal { error, member_id: request.member_id.clone() };
        let bounds = self.options.session_timeout_min_ms..=self.options.session_timeout_max_ms;
        if !bounds.contains(&request.session_timeout_ms) {
            return Err(refuse(GroupError::InvalidSessionTimeout));
        }
        if !self.has_room_for(request) {
            self.remove_member(&request.member_id, fx);
            self.after_removal(now, fx);
            return Err(JoinRefusal {
                error: GroupError::GroupMaxSizeReached,
                member_id: Arc::from(""),
            });
        }
        if !self.fits_protocols(request) {
            return Err(refuse(GroupError::InconsistentGroupProtocol));
        }
        if request.member_id.is_empty() {
            self.join_unknown(token, request, now, fx)
        } else if self.pending.contains_key(&request.member_id) && request.instance_id.is_none() {
            self.pending.remove(&request.member_id);
            self.add_member(request.member_id.clone(), token, request, now, fx);
            Ok(())
        } else {
            self.validate_member(&request.member_id, request.instance_id.as_ref())
                .and_then(|()| self.rejoin(token, request, now, fx))
                .map_err(refuse)
        }
    }

    fn join_unknown(
        &mut self,
        token: Token,
        request: &JoinRequest,
        now: Now,
        fx: &mut Effects,
    ) -> Result<(), JoinRefusal> {
        let fresh = request.fresh_id.clone();
        if let Some(instance) = &request.instance_id {
            if let Some(old) = self.instances.get(instance).cloned() {
                self.take_over(&old, token, request, now, fx);
            } else {
                self.add_member(fresh, token, request, now, fx);
            }
            return Ok(());
        }
        if !request.requires_known_id {
            self.add_member(fresh, token, request, now, fx);
            return Ok(());
        }
        self.add_pending(fresh.clone(), request.session_timeout_ms, now);
        Err(JoinRefusal { error: GroupError::MemberIdRequired, member_id: fresh })
    }

    fn add_pending(&mut self, id: Arc<str>, session_timeout_ms: i32, now: Now) {
        if self.pending.len() >= self.options.pending_members_max.max(1) {
            // Whoever asked longest ago has most likely gone; if not, it starts over (code 25).
            let oldest = self.pending.iter().min_by_key(|(_, pending)| pending.arrival);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.pending.remove(&oldest);
            }
        }
        let expires = now.tick.after_ms(session_timeout_ms.into());
        let arrival = self.next_arrival();
        self.pending.insert(id, Pending { expires, arrival });
        self.arm(expires);
    }

    fn add_member(
        &mut self,
        id: Arc<str>,
        token: Token,
        request: &JoinRequest,
        now: Now,
        fx: &mut Effects,
    ) {
        let mut member = Member::new(request, self.next_arrival());
        member.joining = Some(Joining { token, takeover: None });
        // It has no id to send heartbeats with until the join is answered.
        let timeout = i64::from(self.options.new_member_join_timeout_ms);
        member.session_deadline = now.tick.after_ms(timeout);
        self.arm(member.session_deadline);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance) = &request.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        match &mut self.phase {
            Phase::Preparing(preparing) => {
                if let Some(initial) = &mut preparing.initial {
                    initial.extended = true;
                }
            }
            _ => self.prepare_rebalance(now, fx),
        }
    }

    /// A member that the group knows joins again.
    fn rejoin(
        &mut self,
        token: Token,
        request: &JoinRequest,
        now: Now,
        fx: &mut Effects,
    ) -> Result<(), GroupError> {
        let id = &request.member_id;
        let is_leader = self.is_leader(id);
        let member = self.members.get_mut(id).ok_or(GroupError::UnknownMemberId)?;
        let unchanged = member.matches(&request.protocols);
        if let Some(superseded) = member.joining.take() {
            let member_id = id.clone();
            let error = GroupError::RebalanceInProgress;
            fx.joins.push((superseded.token, Err(JoinRefusal { error, member_id })));
        }
        member.update(request);
        let answer_now = match &self.phase {
            Phase::Empty => return Err(GroupError::UnknownMemberId),
            Phase::Preparing(_) => false,
            // It did not get the answer to its first join, or the coordinator has changed.
            Phase::Completing(Completing::Announcing) if unchanged => {
                member.joining = Some(Joining { token, takeover: None });
                return Ok(());
            }
            Phase::Completing(_) => unchanged,
            // The leader rejoins to have it rebalanced, e.g. when a topic got more partitions.
            Phase::Stable => unchanged && !is_leader,
        };
        if answer_now {
            self.renew_session(id, now.tick);
            fx.joins.push((token, Ok(self.join_answer(id))));
            return Ok(());
        }
        member.joining = Some(Joining { token, takeover: None });
        if !matches!(self.phase, Phase::Preparing(_)) {
            self.prepare_rebalance(now, fx);
        }
        Ok(())
    }

    /// What a member learns of the current generation; the leader also learns the members.
    pub(super) fn join_answer(&self, id: &Arc<str>) -> JoinAnswer {
        JoinAnswer {
            member_id: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            members: if self.is_leader(id) { self.join_members() } else { Vec::new() },
        }
    }

    pub(super) fn join_members(&self) -> Vec<JoinMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&Arc<str>, &Member)| JoinMember {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.iter().map(member).collect()
    }

    fn has_room_for(&self, request: &JoinRequest) -> bool {
        let known = self.members.get(&request.member_id);
        let replaced = request.instance_id.as_ref().and_then(|id| self.instances.get(id));
        let known = known.or_else(|| replaced.and_then(|id| self.members.get(id)));
        let count = match self.phase {
            // Those who have not joined again may be gone: first come, first served.
            Phase::Preparing(_) => {
                let joining = |member: &&Member| member.joining.is_some();
                if known.as_ref().is_some_and(joining) {
                    0
                } else {
                    self.members.values().filter(joining).count()
                }
            }
            _ if known.is_some() => 0,
            _ => self.members.len(),
        };
        let held: usize = self.members.values().map(Member::protocol_bytes).sum();
        let freed = known.map_or(0, Member::protocol_bytes);
        let bytes = held - freed + protocol_bytes(&request.protocols);
        count < self.options.members_max && bytes <= self.options.group_bytes_max
    }

    fn fits_protocols(&self, request: &JoinRequest) -> bool {
        if self.members.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request
                .protocols
                .iter()
                .any(|(name, _)| self.members.values().all(|member| member.supports(name)))
    }
}
