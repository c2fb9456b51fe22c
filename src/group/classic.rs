//! One classic consumer group as a pure state machine (Kafka's `ClassicGroup` and the classic half
//! of `GroupMetadataManager`; KIP-62, 345, 394, 814).
//!
//! ```text
//!            first join                all joined or time is up
//!   Empty ───────────────► Preparing ────────────────────────► Completing
//!     ▲                    ▲   │  ▲      generation + 1, written     │ leader's sync,
//!     │   all have left    │   │  │                                 │ written
//!     └────────────────────┼───┘  └──────── a member joins, ────────▼
//!                          │                leaves, expires       Stable
//!                          └───────────────────────────────────────┘
//! ```
//!
//! Every input is a method that takes the time and adds to [`Effects`] what shall happen outside.
//!
//! **Invariant:** a request's token is answered exactly once, at the latest when a deadline passes
//! or a write ends.
//! **Invariant:** the generation never decreases, also across a failover: a new one is written
//! before any member hears of it, so that a successor goes on from at least that number. (Kafka
//! answers JoinGroup first and may give the same number out twice, to different members; here a
//! stale SyncGroup or commit can never meet a namesake of its generation.)
//! **Invariant:** a generation is assigned at most once: the first assignments of its leader count.
//! **Invariant:** at most one write of a group is under way; members that join meanwhile share the
//! next generation.

mod describe;
mod effects;
mod join;
mod leave;
mod load;
mod member;
mod rebalance;
mod static_member;
mod sync;
mod timers;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{GroupError, GroupOptions, MemberClaim, Now, Tick};
use crate::model::Timestamp;
pub use effects::{Effects, Token, Write};
use member::{Member, Pending};

/// The five states, named as Kafka names them to its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; may have offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// The generation stands, the leader's assignments are awaited.
    CompletingRebalance,
    /// Assigned.
    Stable,
    /// Does not exist (any more).
    Dead,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        })
    }
}

/// The states with what is only known in them. Dead has none: a dead group is out of the map.
#[derive(Debug)]
enum Phase {
    Empty,
    Preparing(Preparing),
    Completing(Completing),
    Stable,
}

#[derive(Debug)]
struct Preparing {
    /// When the generation begins without whoever has not joined.
    deadline: Tick,
    /// Set during the first rebalance of an empty group.
    initial: Option<InitialDelay>,
    /// The deadline has passed while a write was under way.
    overdue: bool,
}

#[derive(Debug)]
struct InitialDelay {
    /// The delay is not extended beyond this.
    latest: Tick,
    /// Whether a member joined since the delay was last set.
    extended: bool,
}

#[derive(Debug)]
enum Completing {
    /// The generation's first write is under way; its members still wait in JoinGroup.
    Announcing,
    /// The members know the generation.
    AwaitingLeader,
    /// The generation's second write is under way, with these assignments.
    Assigning(BTreeMap<Arc<str>, Bytes>),
}

/// One group.
#[derive(Debug)]
pub struct ClassicGroup {
    id: Arc<str>,
    options: Arc<GroupOptions>,
    phase: Phase,
    state_since: Timestamp,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    generation: i32,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Instance id → member id, of static members.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and not yet used.
    pending: BTreeMap<Arc<str>, Pending>,
    /// Counts arrivals, so that members and pending members have an order.
    arrivals: u64,
    /// When members that have not synced are removed.
    sync_deadline: Option<Tick>,
    /// A member was removed and the consequences are still to be drawn.
    departed: bool,
    writes: writes::Writes,
    /// No deadline of this group lies before it.
    wake: Option<Tick>,
}

impl ClassicGroup {
    /// A group that nobody has joined and nothing is stored of.
    #[must_use]
    pub fn new(id: Arc<str>, options: Arc<GroupOptions>, wall: Timestamp) -> Self {
        Self {
            id,
            options,
            phase: Phase::Empty,
            state_since: wall,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            arrivals: 0,
            sync_deadline: None,
            departed: false,
            writes: writes::Writes::default(),
            wake: None,
        }
    }

    /// The group's state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing(_) => GroupState::PreparingRebalance,
            Phase::Completing(_) => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// The current generation; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// When [`ClassicGroup::tick`] has to be called next: not later than the earliest deadline.
    #[must_use]
    pub fn wake(&self) -> Option<Tick> {
        self.wake
    }

    /// Whether nothing would be lost with the group: no member, no id given out, nothing stored.
    #[must_use]
    pub fn is_forgettable(&self) -> bool {
        matches!(self.phase, Phase::Empty) && self.pending.is_empty() && self.writes.is_untouched()
    }

    /// Whether the group is empty and nothing of it is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Empty)
            && self.pending.is_empty()
            && !self.writes.is_under_way()
            && self.writes.retry.is_none()
    }

    /// A member shows that it lives (Heartbeat).
    ///
    /// # Errors
    /// [`GroupError::RebalanceInProgress`] while members join, else who or what is unknown.
    pub fn heartbeat(&mut self, claim: &MemberClaim, now: Now) -> Result<(), GroupError> {
        self.validate_member(&claim.member_id, claim.instance_id.as_ref())?;
        self.validate_generation(claim.generation)?;
        self.renew_session(&claim.member_id, now.tick);
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            Phase::Preparing(_) => Err(GroupError::RebalanceInProgress),
            Phase::Completing(_) | Phase::Stable => Ok(()),
        }
    }

    /// Whether positions may be committed under this claim (`ClassicGroup.validateOffsetCommit`).
    /// A member's commit also shows that it lives.
    ///
    /// # Errors
    /// As for a heartbeat, but commits pass while members join and fail in CompletingRebalance.
    pub fn admit_commit(&mut self, claim: &MemberClaim, now: Now) -> Result<(), GroupError> {
        let empty = matches!(self.phase, Phase::Empty);
        if claim.generation < 0 && empty {
            return Ok(());
        }
        if claim.generation < 0 && claim.member_id.is_empty() && claim.instance_id.is_none() {
            // The group is managed by its members: nobody else moves their positions.
            return Err(GroupError::UnknownMemberId);
        }
        self.validate_member(&claim.member_id, claim.instance_id.as_ref())?;
        self.validate_generation(claim.generation)?;
        if matches!(self.phase, Phase::Completing(_)) {
            return Err(GroupError::RebalanceInProgress);
        }
        self.renew_session(&claim.member_id, now.tick);
        Ok(())
    }

    fn validate_member(
        &self,
        member_id: &Arc<str>,
        instance_id: Option<&Arc<str>>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance_id {
            match self.instances.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(owner) if owner != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn validate_generation(&self, generation: i32) -> Result<(), GroupError> {
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// The longest rebalance timeout among the members.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).into()
    }

    fn enter(&mut self, phase: Phase, wall: Timestamp) {
        self.phase = phase;
        self.state_since = wall;
    }

    fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }
}
