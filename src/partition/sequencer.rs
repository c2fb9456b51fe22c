//! The one task per partition through which every produced batch passes on the leader.
//!
//! ```text
//! handlers ── Submission ──► queue ──► admit (sequence) ──► Group::propose ──► in flight ──► answer
//! ```
//!
//! Appends enter Raft in the order in which they were admitted, each with the base offset that it is
//! expected to land on. If Raft refuses one in the middle of a pipeline, those behind it would land
//! too early; the log port voids them (see [`super::raft_log`]), and the sequencer stops, waits until
//! nothing is in flight, and starts again from the log's end.
//!
//! **Invariant:** an append is proposed only in a term whose first entry this node has applied, so
//! that the producer states and the log's end are those of every record before it.
//! **Invariant:** every submission is answered exactly once, or its sender is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use jackdaw_raft::{Applied, Data, Group, ProposeError, Reply, Role};
use tokio::sync::{mpsc, oneshot, watch};

use super::admission::Admission;
use super::early_answer::{EarlyAnswer, SurelyLeads};
use super::error::PartitionError;
use super::producer_state::{ProducerStates, SequenceError, Verdict};
use crate::model::Offset;
use crate::model::mutant;
use crate::model::record_batch::BatchHeader;
use crate::storage::Log;

/// Submissions taken from the queue in one round, and so the most that one proposal holds.
const ROUND_MAX: usize = 512;

/// Answer to an append: the offset of its first record.
pub(super) type Answer = Result<Offset, PartitionError>;

/// A validated batch on its way into the log.
#[derive(Debug)]
pub(super) struct Submission {
    /// One v2 batch, not yet stamped.
    pub(super) batch: Bytes,
    /// Its header.
    pub(super) header: BatchHeader,
    /// Answered on the leader's own sync instead of on commit (`acks=1`).
    pub(super) on_local_sync: bool,
    /// Where the answer goes.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What travels beside a batch to this node's own log port.
#[derive(Debug)]
pub(super) struct AppendContext {
    /// The term that the batch must be appended in; in another it is voided.
    pub(super) term: u64,
    /// The base offset that the batch must land on; elsewhere it is voided.
    pub(super) expected: Offset,
    /// Who is answered when the leader's own disk has the batch.
    pub(super) early: Option<Arc<EarlyAnswer>>,
}

struct InFlight {
    header: BatchHeader,
    expected: Offset,
    applied: oneshot::Receiver<Result<Applied, ProposeError>>,
    answers: Answers,
}

/// Who waits for the outcome of a proposal.
struct Answers {
    on_commit: Vec<oneshot::Sender<Answer>>,
    /// May have been given before.
    early: Option<Arc<EarlyAnswer>>,
}

impl Answers {
    fn give(self, result: &Answer) {
        if let Some(early) = self.early {
            early.give(result.clone());
        }
        for answer in self.on_commit {
            // A dropped receiver is a client that went away: its answer has nowhere to go.
            drop(answer.send(result.clone()));
        }
    }
}

/// Where the sequencer stands between two leaderships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing may be proposed until nothing is in flight and the term is settled.
    Draining,
    /// Proposals go out in this term, the next at this offset.
    Open { term: u64, next: Offset },
}

/// State of the task.
pub(super) struct Sequencer {
    queue: mpsc::UnboundedReceiver<Submission>,
    group: Group,
    surely_leads: SurelyLeads,
    role: watch::Receiver<Role>,
    log: Log,
    committed: Arc<Mutex<ProducerStates>>,
    admission: Admission,
    in_flight: VecDeque<InFlight>,
    mode: Mode,
}

impl Sequencer {
    /// A sequencer for one open partition; `committed` is shared with its state machine.
    pub(super) fn new(
        queue: mpsc::UnboundedReceiver<Submission>,
        group: Group,
        log: Log,
        committed: Arc<Mutex<ProducerStates>>,
    ) -> Self {
        let role = group.role();
        let leading = group.clone();
        Self {
            queue,
            role,
            surely_leads: Arc::new(move || leading.is_confirmed()),
            group,
            log,
            committed,
            admission: Admission::default(),
            in_flight: VecDeque::new(),
            mode: Mode::Draining,
        }
    }

    /// Runs until the partition is closed (its queue's last sender dropped) or its group shut down.
    pub(super) async fn run(mut self) {
        let mut round = Vec::new();
        loop {
            let takes = self.settle_mode();
            tokio::select! {
                biased;
                result = next_applied(&mut self.in_flight) => self.complete(result),
                count = self.queue.recv_many(&mut round, ROUND_MAX), if takes => {
                    if count == 0 {
                        return;
                    }
                    self.take(&mut round).await;
                }
                changed = self.role.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Opens or closes for proposals by the group's role; returns whether the queue is served
    /// now: with proposals when open, with refusals when another node leads. In between, while this
    /// leader settles, submissions wait.
    fn settle_mode(&mut self) -> bool {
        let role = *self.role.borrow_and_update();
        if !role.is_leader {
            self.mode = Mode::Draining;
            return true;
        }
        if let Mode::Open { term, .. } = self.mode {
            if term == role.term {
                return true;
            }
            self.mode = Mode::Draining;
        }
        if !role.ready || !self.in_flight.is_empty() {
            return false;
        }
        self.admission.clear();
        self.mode = Mode::Open { term: role.term, next: self.log.end_offset() };
        true
    }

    async fn take(&mut self, round: &mut Vec<Submission>) {
        if self.mode == Mode::Draining {
            for submission in round.drain(..) {
                refuse(submission.answer, PartitionError::NotLeader);
            }
            return;
        }
        let mut batch = Vec::with_capacity(round.len());
        let mut admitted = Vec::with_capacity(round.len());
        for submission in round.drain(..) {
            if let Some((data, entry)) = self.admit(submission, &mut admitted) {
                batch.push(data);
                admitted.push(entry);
            }
        }
        if batch.is_empty() {
            return;
        }
        match self.group.propose(batch).await {
            Ok(receivers) => {
                for (mut entry, applied) in admitted.into_iter().zip(receivers) {
                    if mutant::is_on("answered-when-proposed") {
                        let on_commit = std::mem::take(&mut entry.answers.on_commit);
                        Answers { on_commit, early: None }.give(&Ok(entry.expected));
                    }
                    self.in_flight.push_back(InFlight {
                        header: entry.header,
                        expected: entry.expected,
                        applied,
                        answers: entry.answers,
                    });
                }
            }
            Err(error) => {
                self.mode = Mode::Draining;
                for entry in admitted {
                    self.admission.settle(&entry.header);
                    entry.answers.give(&Err(refusal(&error)));
                }
            }
        }
    }

    /// Judges one submission; `None` if it was answered or attached to the original it repeats.
    fn admit(
        &mut self,
        submission: Submission,
        admitted: &mut [Admitted],
    ) -> Option<(Data, Admitted)> {
        let Mode::Open { term, next } = &mut self.mode else {
            refuse(submission.answer, PartitionError::NotLeader);
            return None;
        };
        let Submission { batch, header, on_local_sync, answer } = submission;
        let verdict = {
            let committed = super::lock(&self.committed);
            self.admission.admit(&committed, &header, *next)
        };
        match verdict {
            Err(error) => {
                // Clients take it for final: one that may have been deposed does not know enough to say it.
                let error = match (self.surely_leads)() {
                    true => error.into(),
                    false => PartitionError::NotLeader,
                };
                refuse(answer, error);
                None
            }
            Ok(Verdict::Duplicate { base_offset, .. }) => {
                self.answer_duplicate(base_offset, answer, admitted);
                None
            }
            Ok(Verdict::Old) => {
                let (producer, found) = (header.producer_id, header.base_sequence);
                refuse(answer, SequenceError::Duplicate { producer, found }.into());
                None
            }
            Ok(Verdict::Unsettled) => {
                refuse(answer, PartitionError::Uncertain);
                None
            }
            Ok(Verdict::Append) => {
                let expected = *next;
                *next = next.advance(header.offset_count());
                let (early, on_commit) = if on_local_sync {
                    let early = EarlyAnswer::new(answer, Arc::clone(&self.surely_leads));
                    (Some(Arc::new(early)), Vec::new())
                } else {
                    (None, vec![answer])
                };
                let context = AppendContext { term: *term, expected, early: early.clone() };
                let data = Data { bytes: batch, context: Some(Arc::new(context)) };
                Some((data, Admitted { header, expected, answers: Answers { on_commit, early } }))
            }
        }
    }

    /// A repeated batch is answered when its original is: at once if that is committed.
    fn answer_duplicate(
        &mut self,
        base_offset: Offset,
        answer: oneshot::Sender<Answer>,
        admitted: &mut [Admitted],
    ) {
        let in_flight = self
            .in_flight
            .iter_mut()
            .find(|entry| entry.expected == base_offset)
            .map(|entry| &mut entry.answers.on_commit);
        let original = in_flight.or_else(|| {
            let of_same = admitted.iter_mut().find(|a| a.expected == base_offset);
            of_same.map(|a| &mut a.answers.on_commit)
        });
        match original {
            Some(answers) => answers.push(answer),
            None => drop(answer.send(Ok(base_offset))),
        }
    }

    fn complete(&mut self, result: Result<Applied, ProposeError>) {
        let Some(entry) = self.in_flight.pop_front() else {
            return;
        };
        self.admission.settle(&entry.header);
        let answer = match result {
            Ok(Applied { reply: Reply::Position(base), .. }) => {
                let base = Offset(base as i64);
                assert_eq!(base, entry.expected, "an append landed where it was not expected");
                Ok(base)
            }
            // Voided: it is certain that the records are not in the log.
            Ok(_) => {
                self.mode = Mode::Draining;
                let is_full = !self.log.has_room();
                Err(if is_full { PartitionError::Full } else { PartitionError::NotLeader })
            }
            Err(error) => {
                self.mode = Mode::Draining;
                Err(refusal(&error))
            }
        };
        entry.answers.give(&answer);
    }
}

struct Admitted {
    header: BatchHeader,
    expected: Offset,
    answers: Answers,
}

/// The outcome of the oldest proposal in flight; pends for ever when there is none.
async fn next_applied(in_flight: &mut VecDeque<InFlight>) -> Result<Applied, ProposeError> {
    match in_flight.front_mut() {
        Some(entry) => (&mut entry.applied).await.unwrap_or(Err(ProposeError::Uncertain)),
        None => std::future::pending().await,
    }
}

/// What a refused proposal means to who asked for it.
pub(super) fn refusal(error: &ProposeError) -> PartitionError {
    match error {
        ProposeError::NotLeader { .. } | ProposeError::Unavailable => PartitionError::NotLeader,
        ProposeError::Uncertain | ProposeError::Shutdown => PartitionError::Uncertain,
        ProposeError::Storage => PartitionError::Storage("the log refused the append".into()),
    }
}

fn refuse(answer: oneshot::Sender<Answer>, error: PartitionError) {
    drop(answer.send(Err(error)));
}
