//! The group map: requests in, effects out.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::super::{
    ClassicGroup, Effects, GroupError, JoinAnswer, JoinRefusal, JoinRequest, LeaveMember,
    MemberClaim, Now, StoreError, SyncAnswer, SyncRequest, Term, Tick, Token, Write,
};
use super::{Coordinator, Inner, SHARDS, lock};

pub(super) type Shard = HashMap<Arc<str>, Slot>;
type JoinOutcome = Result<JoinAnswer, JoinRefusal>;
type SyncOutcome = Result<SyncAnswer, GroupError>;

/// A group and what belongs to it outside of its state machine.
pub(super) struct Slot {
    pub(super) id: Arc<str>,
    pub(super) group: ClassicGroup,
    pub(super) waiting: Waiting,
    /// The earliest entry of the group in the timer.
    pub(super) armed: Option<Tick>,
    /// Counts admitted commits, so that the sweep notices them.
    pub(super) commits: u64,
}

impl Slot {
    pub(super) fn new(id: Arc<str>, group: ClassicGroup) -> Self {
        Self { id, group, waiting: Waiting::default(), armed: None, commits: 0 }
    }
}

/// Requests that a group has not answered yet.
#[derive(Default)]
pub(super) struct Waiting {
    joins: HashMap<Token, oneshot::Sender<JoinOutcome>>,
    syncs: HashMap<Token, oneshot::Sender<SyncOutcome>>,
}

impl Waiting {
    /// Hands answers out. A requester that has gone meanwhile is no error.
    pub(super) fn answer(&mut self, fx: &mut Effects) {
        for (token, answer) in fx.joins.drain(..) {
            let requester = self.joins.remove(&token);
            assert!(requester.is_some(), "{token:?} was answered twice");
            requester.map(|requester| requester.send(answer));
        }
        for (token, answer) in fx.syncs.drain(..) {
            let requester = self.syncs.remove(&token);
            assert!(requester.is_some(), "{token:?} was answered twice");
            requester.map(|requester| requester.send(answer));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.syncs.is_empty()
    }
}

impl Coordinator {
    /// JoinGroup. Resolves when the member's next generation begins.
    ///
    /// # Errors
    /// A refusal with the member id that the client shall use next.
    pub async fn join(&self, group: &str, request: JoinRequest) -> JoinOutcome {
        let refuse = |error| JoinRefusal { error, member_id: request.member_id.clone() };
        validate_group_id(group).map_err(refuse)?;
        let (sender, receiver) = oneshot::channel();
        let token = self.0.next_token();
        let creates = request.member_id.is_empty();
        self.0
            .with_group(group, creates, |slot, now, fx| {
                slot.waiting.joins.insert(token, sender);
                slot.group.join(token, &request, now, fx);
            })
            .map_err(refuse)?;
        // The sender is only dropped unanswered if the process is going down.
        let answer = self.0.unless_cut_off(receiver).await.map_err(refuse)?;
        answer.unwrap_or_else(|_| Err(refuse(GroupError::NotCoordinator)))
    }

    /// SyncGroup. Resolves when the leader has assigned.
    ///
    /// # Errors
    /// [`GroupError::RebalanceInProgress`] also while the groups are loaded: clients take the
    /// proper code for fatal here, and this one makes them rejoin.
    pub async fn sync(&self, group: &str, request: SyncRequest) -> SyncOutcome {
        validate_group_id(group)?;
        let (sender, receiver) = oneshot::channel();
        let token = self.0.next_token();
        self.0
            .with_group(group, false, |slot, now, fx| {
                slot.waiting.syncs.insert(token, sender);
                slot.group.sync(token, request, now, fx);
            })
            .map_err(|error| match error {
                GroupError::CoordinatorLoadInProgress => GroupError::RebalanceInProgress,
                other => other,
            })?;
        self.0.unless_cut_off(receiver).await?.unwrap_or(Err(GroupError::NotCoordinator))
    }

    /// Heartbeat. While the groups are loaded every heartbeat is good: its session starts over
    /// when they are.
    ///
    /// # Errors
    /// See [`ClassicGroup::heartbeat`].
    pub fn heartbeat(&self, group: &str, claim: &MemberClaim) -> Result<(), GroupError> {
        validate_group_id(group)?;
        let beaten =
            self.0.with_group(group, false, |slot, now, _| slot.group.heartbeat(claim, now));
        match beaten {
            Err(GroupError::CoordinatorLoadInProgress) => Ok(()),
            outcome => outcome?,
        }
    }

    /// LeaveGroup: one outcome per member, in order.
    ///
    /// # Errors
    /// If this node does not coordinate, or the group id is invalid.
    pub fn leave(
        &self,
        group: &str,
        members: &[LeaveMember],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        validate_group_id(group)?;
        let left =
            self.0.with_group(group, false, |slot, now, fx| slot.group.leave(members, now, fx));
        match left {
            Err(GroupError::UnknownMemberId) => {
                Ok(members.iter().map(|_| Err(GroupError::UnknownMemberId)).collect())
            }
            outcome => outcome,
        }
    }
}

impl Inner {
    pub(super) fn shard_of(&self, id: &str) -> &Mutex<Shard> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        &self.shards[hash as usize % SHARDS]
    }

    fn next_token(&self) -> Token {
        Token(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs `act` on a group and carries out what follows from it. A group that is not there is
    /// made if `create`, else the answer is [`GroupError::UnknownMemberId`].
    pub(super) fn with_group<R>(
        self: &Arc<Self>,
        id: &str,
        create: bool,
        act: impl FnOnce(&mut Slot, Now, &mut Effects) -> R,
    ) -> Result<R, GroupError> {
        let mut shard = lock(self.shard_of(id));
        let term = self.current_term()?;
        let now = self.now();
        if !shard.contains_key(id) {
            if !create {
                return Err(GroupError::UnknownMemberId);
            }
            if self.groups.load(Ordering::Relaxed) >= self.options.groups_max {
                return Err(GroupError::TooManyGroups);
            }
            let id: Arc<str> = Arc::from(id);
            let group = ClassicGroup::new(id.clone(), self.options.clone(), now.wall);
            shard.insert(id.clone(), Slot::new(id, group));
            self.groups.fetch_add(1, Ordering::Relaxed);
        }
        let Some(slot) = shard.get_mut(id) else { unreachable!("was just inserted") };
        let mut fx = Effects::default();
        let result = act(slot, now, &mut fx);
        self.carry_out(term, slot, fx);
        if slot.group.is_forgettable() && slot.waiting.is_empty() {
            shard.remove(id);
            self.groups.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(result)
    }

    fn carry_out(self: &Arc<Self>, term: Term, slot: &mut Slot, mut fx: Effects) {
        slot.waiting.answer(&mut fx);
        self.arm_timer(slot);
        let Some(Write { version, record }) = fx.write else { return };
        let inner = self.clone();
        let outcome = self.store.put_group(term, record);
        let id = slot.id.clone();
        tokio::spawn(async move {
            let outcome = outcome.await;
            inner.written(term, &id, version, outcome);
        });
    }

    fn written(
        self: &Arc<Self>,
        term: Term,
        id: &str,
        version: u64,
        outcome: Result<(), StoreError>,
    ) {
        if let Err(error) = outcome {
            tracing::warn!(group = id, %error, "the group was not stored");
        }
        let mut shard = lock(self.shard_of(id));
        // Whoever waited in another term was answered when that term ended.
        if self.active_term() != Ok(term) {
            return;
        }
        if let Some(slot) = shard.get_mut(id) {
            let mut fx = Effects::default();
            slot.group.written(version, outcome, self.now(), &mut fx);
            self.carry_out(term, slot, fx);
        }
    }
}

/// Kafka's APIs of membership need a group id; the length is bounded because it is stored.
pub(super) fn validate_group_id(group: &str) -> Result<(), GroupError> {
    if group.is_empty() { Err(GroupError::InvalidGroupId) } else { validate_stored_id(group) }
}

/// Ids end up in records and in responses with 15-bit lengths.
pub(super) fn validate_stored_id(group: &str) -> Result<(), GroupError> {
    const ID_BYTES_MAX: usize = 8_192;
    if group.len() > ID_BYTES_MAX { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}
