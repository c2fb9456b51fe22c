//! The controller: on the metadata leader, answers changes one request after the other.
//!
//! **Invariant:** a request is planned against a state that contains every earlier request's
//! outcome: requests hold `turn` from the read barrier to the application of their commands. What
//! a leader change slips in between is caught by the checks in `State::apply`.

use std::collections::BTreeSet;
use std::sync::Arc;

use jackdaw_raft::{Applied, Data, Group, ProposeError, Reply};
use tokio::sync::{Mutex, oneshot};

use super::change::{CallAnswer, Change, ChangeAnswer, ChangeRequest, NoAnswer, Outcome};
use super::command::{Command, CommandReply, Envelope, RequestId};
use super::configs::ConfigMap;
use super::machine::MetadataMachine;
use super::planner::{Planner, TopicDefaults};
use super::refusal::Refusal;
use crate::model::BrokerId;

/// A submitted command's result, to come.
type Pending = oneshot::Receiver<Result<Applied, ProposeError>>;

/// Plans and proposes on the leader; refuses elsewhere.
pub(super) struct Controller {
    pub(super) group: Group,
    pub(super) machine: Arc<MetadataMachine>,
    pub(super) defaults: TopicDefaults,
    pub(super) statics: ConfigMap,
    turn: Mutex<()>,
}

impl From<ProposeError> for NoAnswer {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } => Self::NotLeader,
            ProposeError::Unavailable => Self::Unavailable,
            ProposeError::Shutdown | ProposeError::Storage => Self::Closed,
            ProposeError::Uncertain => Self::Uncertain,
        }
    }
}

/// Reads what the state machine answered.
fn read_reply(applied: Applied) -> Result<(u64, CommandReply), NoAnswer> {
    let Reply::Bytes(bytes) = applied.reply else {
        unreachable!("the metadata machine answers every command with bytes")
    };
    let reply = CommandReply::from_bytes(&bytes).expect("written by this process");
    Ok((applied.log_id.index, reply))
}

fn outcome(reply: CommandReply) -> Outcome {
    reply.accepted().map_or_else(Outcome::Refused, Outcome::Done)
}

/// A change on its way through the controller.
enum Step {
    Known(Outcome),
    Submitted,
}

impl Controller {
    pub(super) fn new(
        group: Group,
        machine: Arc<MetadataMachine>,
        defaults: TopicDefaults,
        statics: ConfigMap,
    ) -> Self {
        Self { group, machine, defaults, statics, turn: Mutex::new(()) }
    }

    /// Answers a request whose changes need planning, or none of whose changes do.
    ///
    /// Runs in a task of its own: a caller that gives up leaves the turn in order.
    pub(super) async fn execute(
        self: Arc<Self>,
        request: ChangeRequest,
        alive: BTreeSet<BrokerId>,
    ) -> CallAnswer {
        let direct = |(_, change): &(RequestId, Change)| matches!(change, Change::Command(_));
        let running = if request.changes.iter().all(direct) && !request.validate_only {
            tokio::spawn(async move { self.submit(request, &alive).await })
        } else {
            tokio::spawn(async move {
                let _turn = self.turn.lock().await;
                self.group.read_barrier().await?;
                self.submit(request, &alive).await
            })
        };
        running.await.unwrap_or(Err(NoAnswer::Closed))
    }

    async fn submit(&self, request: ChangeRequest, alive: &BTreeSet<BrokerId>) -> CallAnswer {
        let validate_only = request.validate_only;
        let (steps, batch) = self.plan(request, alive);
        let pending = if batch.is_empty() {
            Vec::new()
        } else {
            debug_assert!(!validate_only, "a validated change is not proposed");
            self.group.propose(batch).await?
        };
        self.collect(steps, pending).await
    }

    /// Decides every change against the present state.
    fn plan(&self, request: ChangeRequest, alive: &BTreeSet<BrokerId>) -> (Vec<Step>, Vec<Data>) {
        let image = self.machine.images().borrow().clone();
        let mut planner = Planner::new(image, alive, self.defaults, &self.statics);
        let mut batch = Vec::new();
        let mut steps = Vec::with_capacity(request.changes.len());
        for (id, change) in request.changes {
            // A retry of a change that was made, under this leader or an earlier one.
            let known = self.machine.with_state(|state| state.reply_of(id).cloned());
            if let Some(reply) = known {
                steps.push(Step::Known(outcome(reply)));
                continue;
            }
            let step = match planner.plan(change) {
                Err(refusal) => Step::Known(Outcome::Refused(refusal)),
                Ok(command) if request.validate_only => Step::Known(Outcome::Valid(command)),
                Ok(command) => {
                    batch.push(Data::new(envelope(id, command).to_bytes()));
                    Step::Submitted
                }
            };
            steps.push(step);
        }
        (steps, batch)
    }

    /// Waits until everything submitted is applied.
    async fn collect(&self, steps: Vec<Step>, pending: Vec<Pending>) -> CallAnswer {
        let mut applied = (*self.machine.positions().borrow()).map_or(0, |last| last.index);
        let mut pending = pending.into_iter();
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            outcomes.push(match step {
                Step::Known(outcome) => outcome,
                Step::Submitted => {
                    let result = pending.next().expect("one receiver per proposal");
                    let result = result.await.map_err(|_| NoAnswer::Uncertain)??;
                    let (index, reply) = read_reply(result)?;
                    applied = applied.max(index);
                    outcome(reply)
                }
            });
        }
        Ok(ChangeAnswer { applied, outcomes })
    }

    /// Proposes on this node, in `term` and no other; the index at which it was applied and the
    /// reply.
    pub(super) async fn propose_in_term(
        &self,
        term: u64,
        command: Command,
    ) -> Result<(u64, Result<CommandReply, Refusal>), NoAnswer> {
        let status = self.group.status().borrow();
        if !status.is_leader || status.term != term {
            return Err(NoAnswer::NotLeader);
        }
        let envelope = Envelope { request: None, fence: Some(term), command };
        let receivers = self.group.propose(vec![Data::new(envelope.to_bytes())]).await?;
        let receiver = receivers.into_iter().next().expect("one receiver per proposal");
        let (index, reply) = read_reply(receiver.await.map_err(|_| NoAnswer::Uncertain)??)?;
        match reply.accepted() {
            Err(Refusal::Fenced) => Err(NoAnswer::NotLeader),
            accepted => Ok((index, accepted)),
        }
    }
}

/// Commands that may be repeated without harm leave no trace in the request window: it is kept for
/// those whose retry must be recognised.
fn envelope(id: RequestId, command: Command) -> Envelope {
    let repeatable = match &command {
        Command::RegisterBroker(_) | Command::CommitOffsets(_) | Command::DeleteOffsets { .. } => {
            true
        }
        Command::CreateTopic(_)
        | Command::DeleteTopic { .. }
        | Command::CreatePartitions { .. }
        | Command::AlterConfigs { .. }
        | Command::AllocateProducerIds { .. }
        | Command::PutGroup { .. }
        | Command::DeleteGroup { .. } => false,
    };
    Envelope { request: (!repeatable).then_some(id), fence: None, command }
}
