//! The answer to a proposal: openraft calls it from its core, and it resolves the proposer's
//! receiver without a task in between.
//!
//! **Invariant:** `NotLeader`, `Unavailable` mean *certainly not appended*. A completion that is
//! dropped unanswered says `Uncertain`, since its entry may be in the log.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::OptionalSend;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use tokio::sync::{Notify, oneshot};

use super::acks::Acks;
use super::grants::Grants;
use super::types::{C, from_log_id};
use crate::entry::Applied;
use crate::error::ProposeError;
use crate::succession::Followed;

/// What a group's completions and its watcher tell one another.
#[derive(Debug)]
pub(crate) struct GroupSignals {
    /// The current term, for error messages.
    pub(crate) term: AtomicU64,
    /// The latest term that this replica has voted in, or is about to.
    pub(crate) voted: AtomicU64,
    /// Who has confirmed this node as the leader, and when.
    pub(crate) acks: Acks,
    /// What those who have voted for this node hold of the log.
    pub(crate) grants: Grants,
    /// When the peers had been told that this node leads.
    pub(crate) announced: Moment,
    /// What a voter was sent may be lost: whether it is told what is committed is to be looked at.
    pub(crate) untold: Notify,
    /// Whom this replica followed before it stood; `None` where it stands whoever leads.
    pub(crate) succeeds: Mutex<Option<Followed>>,
    /// When this replica voted although whom it followed had been heard of again.
    pub(crate) abstained: Moment,
    /// A write was refused because the leader's lease ran out: a heartbeat would renew it.
    pub(crate) lease_expired: Notify,
    /// This node leads, and has begun to hand over: openraft takes no write in this term any more.
    pub(crate) abdicated: AtomicBool,
    /// Told when it does.
    pub(crate) abdicates: Notify,
    /// The log is to be purged: who waits for a peer lets go of what it lacks.
    pub(crate) purges: Notify,
    /// The group is being closed: nothing waits for room any more.
    pub(crate) closing: AtomicBool,
}

/// An instant that is read and written by several tasks; none at first.
#[derive(Debug)]
pub(crate) struct Moment {
    epoch: Instant,
    /// Nanoseconds since `epoch`, plus one; 0 for none.
    nanos: AtomicU64,
}

impl Moment {
    fn none(epoch: Instant) -> Self {
        Self { epoch, nanos: AtomicU64::new(0) }
    }

    pub(crate) fn set(&self, at: Option<Instant>) {
        let nanos = |at: Instant| at.saturating_duration_since(self.epoch).as_nanos() as u64 + 1;
        self.nanos.store(at.map_or(0, nanos), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Instant> {
        let nanos = self.nanos.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.epoch + Duration::from_nanos(nanos))
    }
}

impl Default for GroupSignals {
    fn default() -> Self {
        Self {
            term: AtomicU64::new(0),
            voted: AtomicU64::new(0),
            acks: Acks::default(),
            grants: Grants::default(),
            announced: Moment::none(Instant::now()),
            untold: Notify::new(),
            succeeds: Mutex::default(),
            abstained: Moment::none(Instant::now()),
            lease_expired: Notify::new(),
            abdicated: AtomicBool::new(false),
            abdicates: Notify::new(),
            purges: Notify::new(),
            closing: AtomicBool::new(false),
        }
    }
}

impl GroupSignals {
    /// This replica has voted although whom it followed had been heard of again, and may serve reads on the word of this
    /// node: as long as that may be, it helps to elect nobody.
    pub(crate) fn abstain(&self) {
        self.abstained.set(Some(Instant::now()));
    }

    pub(crate) fn refusal(&self, forward: &ForwardToLeader<C>) -> ProposeError {
        match forward.reason {
            ForwardReason::NotLeader => ProposeError::NotLeader {
                leader: forward.leader_id,
                term: self.term.load(Ordering::Relaxed),
            },
            ForwardReason::LeadershipTransfer => ProposeError::Unavailable,
            ForwardReason::LeaseExpired => {
                self.lease_expired.notify_one();
                ProposeError::Unavailable
            }
        }
    }
}

type Answer = Result<Applied, ProposeError>;

/// A proposer's end of its proposal, of any result type that openraft asks for.
pub(crate) struct Completion<T> {
    answer: Option<oneshot::Sender<Answer>>,
    signals: Arc<GroupSignals>,
    convert: fn(T, &GroupSignals) -> Answer,
    _result: PhantomData<fn(T)>,
}

impl Completion<ClientWriteResult<C>> {
    pub(crate) fn new(signals: &Arc<GroupSignals>) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let completion = Self {
            answer: Some(answer),
            signals: signals.clone(),
            convert: write_answer,
            _result: PhantomData,
        };
        (completion, receiver)
    }
}

fn write_answer(result: ClientWriteResult<C>, signals: &GroupSignals) -> Answer {
    match result {
        Ok(written) => Ok(Applied { log_id: from_log_id(&written.log_id), reply: written.data }),
        Err(ClientWriteError::ForwardToLeader(forward)) => Err(signals.refusal(&forward)),
        Err(ClientWriteError::LogEntryDiscarded(_)) => Err(ProposeError::Uncertain),
        // Neither a membership change nor a precondition is ever proposed through here.
        Err(
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
        ) => Err(ProposeError::Uncertain),
    }
}

impl<T: OptionalSend + 'static> Responder<C, T> for Completion<T> {
    fn on_complete(mut self, result: T) {
        let answer = (self.convert)(result, &self.signals);
        if let Some(sender) = self.answer.take() {
            // A proposer that went away has its answer dropped.
            let _ = sender.send(answer);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.answer.take() {
            let _ = sender.send(Err(ProposeError::Uncertain));
        }
    }
}
