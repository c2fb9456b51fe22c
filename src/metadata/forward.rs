//! Changes through the handle: asked of the leader, wherever it is, until they are answered; through a peer
//! that hears it where this node does not.
//!
//! **Invariant:** a change keeps its request ids over all tries, so it is applied once however
//! often it is sent. It is answered only after this node has applied it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jackdaw_raft::{BoxFuture, CallError, CallHandler, NodeId};
use tokio::time::{Instant, timeout_at};

use super::change::{
    AlterConfigs, CallAnswer, Change, ChangeAnswer, ChangeRequest, CreatePartitions, CreateTopic,
    NoAnswer, Outcome, TopicSelector,
};
use super::command::{Command, CommandReply, decode, encode};
use super::election::CALL_ELECT;
use super::error::MetadataError;
use super::handle::{Metadata, broker_of, node_of};
use super::hearsay::{CALL_HEAR, CALL_LEADERS};
use super::image::TopicImage;
use super::refusal::Refusal;
use crate::model::{ProducerId, TopicId};

/// The kind of a call that carries a [`ChangeRequest`].
pub const CALL_CHANGE: u8 = 1;

/// The kind of call that carries a [`ChangeRequest`] for a leader that the caller does not hear.
const CALL_PASS_ON: u8 = 5;
/// How long a peer is waited for that passes a change on.
const PASS_ON_WAIT: Duration = Duration::from_secs(2);

/// How long to wait before asking again where nothing says that it would help: the leader of the
/// group as known here did not change, but refused or could not be reached.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

impl Metadata {
    /// Creates topics: per topic the image that this node now has, or why not. With
    /// `validate_only`, the image that the topic would have (with the id [`TopicId::ZERO`]).
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`.
    pub async fn create_topics(
        &self,
        topics: Vec<CreateTopic>,
        validate_only: bool,
        timeout: Duration,
    ) -> Result<Vec<Result<Arc<TopicImage>, Refusal>>, MetadataError> {
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let changes = topics.into_iter().map(Change::CreateTopic);
        let outcomes = self.change(ChangeRequest::new(changes, validate_only), timeout).await?;
        let image = self.image();
        let created = |(name, outcome): (String, Outcome)| match outcome {
            Outcome::Refused(refusal) => Err(refusal),
            // Deleted again since by somebody else: the creation itself is undone.
            Outcome::Done(_) => image.topic(&name).cloned().ok_or(Refusal::UnknownTopic(name)),
            Outcome::Valid(Command::CreateTopic(topic)) => Ok(Arc::new(TopicImage {
                name: topic.name.into(),
                id: TopicId::ZERO,
                partitions: topic.partitions,
                configs: topic.configs,
            })),
            Outcome::Valid(_) => Err(Refusal::Conflict),
        };
        Ok(names.into_iter().zip(outcomes).map(created).collect())
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`.
    pub async fn delete_topics(
        &self,
        topics: Vec<TopicSelector>,
        timeout: Duration,
    ) -> Result<Vec<Result<(), Refusal>>, MetadataError> {
        self.change_each(topics.into_iter().map(Change::DeleteTopic), false, timeout).await
    }

    /// Adds partitions to topics.
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`.
    pub async fn create_partitions(
        &self,
        wanted: Vec<CreatePartitions>,
        validate_only: bool,
        timeout: Duration,
    ) -> Result<Vec<Result<(), Refusal>>, MetadataError> {
        let changes = wanted.into_iter().map(Change::CreatePartitions);
        self.change_each(changes, validate_only, timeout).await
    }

    /// Alters configs of topics and brokers.
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`.
    pub async fn alter_configs(
        &self,
        wanted: Vec<AlterConfigs>,
        validate_only: bool,
        timeout: Duration,
    ) -> Result<Vec<Result<(), Refusal>>, MetadataError> {
        self.change_each(wanted.into_iter().map(Change::AlterConfigs), validate_only, timeout).await
    }

    /// Takes a block of producer ids that nobody else gets.
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`. Ids are exhausted:
    /// [`MetadataError::Unavailable`].
    pub async fn allocate_producer_ids(
        &self,
        timeout: Duration,
    ) -> Result<Range<i64>, MetadataError> {
        let command = Command::AllocateProducerIds { broker: self.inner.broker };
        let request = ChangeRequest::new([Change::Command(command)], false);
        let deadline = Instant::now() + timeout;
        // They are this node's whether it has applied that or not.
        let answer = timeout_at(deadline, self.ask_until_answered(&request, deadline)).await;
        match answer.unwrap_or(Err(MetadataError::Timeout))?.outcomes.pop() {
            Some(Outcome::Done(CommandReply::ProducerIds { first: ProducerId(first), count })) => {
                Ok(first..first + i64::from(count))
            }
            _ => Err(MetadataError::Unavailable),
        }
    }

    /// Submits a command to the leader, wherever that is, and waits until it is applied here.
    ///
    /// Applied once even if it has to be sent again. The reply may be a refusal.
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`.
    pub async fn submit(
        &self,
        command: Command,
        timeout: Duration,
    ) -> Result<CommandReply, MetadataError> {
        let request = ChangeRequest::new([Change::Command(command)], false);
        match self.change(request, timeout).await?.pop() {
            Some(Outcome::Done(reply)) => Ok(reply),
            Some(Outcome::Refused(refusal)) => Ok(CommandReply::Refused(refusal)),
            Some(Outcome::Valid(_)) | None => {
                unreachable!("one outcome per change, none validated")
            }
        }
    }

    /// Proposes a command on this node as the leader of `term`, never elsewhere or in another
    /// term: for the group coordinator, whose decisions hold only while it leads.
    ///
    /// # Errors
    /// [`MetadataError::NotController`] and [`MetadataError::Unavailable`]: nothing was written.
    /// [`MetadataError::Uncertain`] and [`MetadataError::Timeout`]: it may have been.
    pub async fn propose_local(
        &self,
        term: u64,
        command: Command,
        timeout: Duration,
    ) -> Result<CommandReply, MetadataError> {
        let proposed = self.inner.controller.propose_in_term(term, command);
        let answer = tokio::time::timeout(timeout, proposed).await;
        let (_, reply) = answer.map_err(|_| MetadataError::Timeout)?.map_err(no_answer)?;
        Ok(reply.unwrap_or_else(CommandReply::Refused))
    }

    /// Returns once this node was confirmed as leader of `term` by a majority and has applied what
    /// was committed before the call: a read of the state after it is linearizable.
    ///
    /// # Errors
    /// [`MetadataError::NotController`], [`MetadataError::Unavailable`], [`MetadataError::Closed`].
    pub async fn read_barrier(&self, term: u64) -> Result<(), MetadataError> {
        let group = self.group();
        group.read_barrier().await.map_err(|error| no_answer(error.into()))?;
        let status = self.inner.status.borrow();
        if status.is_leader && status.term == term {
            Ok(())
        } else {
            Err(MetadataError::NotController)
        }
    }

    async fn change_each(
        &self,
        changes: impl Iterator<Item = Change>,
        validate_only: bool,
        timeout: Duration,
    ) -> Result<Vec<Result<(), Refusal>>, MetadataError> {
        let outcomes = self.change(ChangeRequest::new(changes, validate_only), timeout).await?;
        let each = |outcome| match outcome {
            Outcome::Done(_) | Outcome::Valid(_) => Ok(()),
            Outcome::Refused(refusal) => Err(refusal),
        };
        Ok(outcomes.into_iter().map(each).collect())
    }

    /// Asks the leader, again while it changes or cannot answer, and waits until this node has
    /// applied what was answered.
    ///
    /// # Errors
    /// [`MetadataError`]; [`MetadataError::Timeout`] after `timeout`.
    pub async fn change(
        &self,
        request: ChangeRequest,
        timeout: Duration,
    ) -> Result<Vec<Outcome>, MetadataError> {
        if request.changes.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + timeout;
        let answered = async {
            let answer = self.ask_until_answered(&request, deadline).await?;
            let mut positions = self.inner.machine.positions();
            let here = |last: &Option<_>| {
                last.is_some_and(|last: jackdaw_raft::LogId| last.index >= answer.applied)
            };
            // The sender lives in the machine, which this handle holds.
            positions.wait_for(here).await.map_err(|_| MetadataError::Closed)?;
            Ok(answer.outcomes)
        };
        timeout_at(deadline, answered).await.unwrap_or(Err(MetadataError::Timeout))
    }

    async fn ask_until_answered(
        &self,
        request: &ChangeRequest,
        deadline: Instant,
    ) -> Result<ChangeAnswer, MetadataError> {
        let mut status = self.inner.status.clone();
        loop {
            let (leader, ended) = {
                let status = status.borrow_and_update();
                (status.leader, status.fault.is_some())
            };
            if ended {
                return Err(MetadataError::Closed);
            }
            let reached = leader.filter(|leader| self.is_alive(broker_of(*leader)));
            let may_be_cut_off = reached.is_none() && self.misses_some();
            let asked = match reached {
                Some(leader) => self.ask(leader, request, deadline).await?,
                None if may_be_cut_off => self.ask_through_peers(request, deadline).await,
                None => Err(NoAnswer::NotLeader),
            };
            match asked {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Closed) if leader == Some(node_of(self.inner.broker)) => {
                    return Err(MetadataError::Closed);
                }
                // Uncertain is safe to repeat: the request's ids are recognised.
                Err(_) => {}
            }
            // Nobody leads: only a change helps. Otherwise the change may have been seen already.
            let changed = status.changed();
            let closed = match leader {
                None if !may_be_cut_off => changed.await.is_err(),
                None | Some(_) => {
                    tokio::time::timeout(RETRY_INTERVAL, changed).await.is_ok_and(|c| c.is_err())
                }
            };
            if closed {
                return Err(MetadataError::Closed);
            }
        }
    }

    async fn ask(
        &self,
        leader: NodeId,
        request: &ChangeRequest,
        deadline: Instant,
    ) -> Result<CallAnswer, MetadataError> {
        if leader == node_of(self.inner.broker) {
            return Ok(self.answer(request.clone()).await);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let body = request.to_bytes();
        match self.inner.node.call(leader, CALL_CHANGE, body, left).await {
            Ok(bytes) => Ok(decode(&bytes)?),
            Err(CallError::Shutdown) => Err(MetadataError::Closed),
            Err(error) => {
                tracing::debug!(%leader, %error, "the metadata leader did not answer");
                Ok(Err(NoAnswer::Uncertain))
            }
        }
    }

    /// Asks live peers, which may hear a leader that this node does not, to pass a change on.
    async fn ask_through_peers(&self, request: &ChangeRequest, deadline: Instant) -> CallAnswer {
        let body = request.to_bytes();
        for peer in self.alive().into_iter().filter(|peer| *peer != self.inner.broker) {
            let left = deadline.saturating_duration_since(Instant::now()).min(PASS_ON_WAIT);
            match self.inner.node.call(node_of(peer), CALL_PASS_ON, body.clone(), left).await {
                Ok(bytes) => match decode::<CallAnswer>(&bytes) {
                    Ok(Ok(answer)) => return Ok(answer),
                    // What is uncertain is safe to repeat.
                    Ok(Err(_)) => {}
                    Err(error) => tracing::debug!(%peer, %error, "a change was not passed on"),
                },
                Err(error) => tracing::debug!(%peer, %error, "a change was not passed on"),
            }
        }
        Err(NoAnswer::NotLeader)
    }

    /// Passes a change on to the leader, if this node hears it.
    async fn pass_on(&self, body: Bytes) -> Result<Bytes, CallError> {
        let request = request_in(&body)?;
        let leader = self.inner.status.borrow().leader;
        let leader = leader.filter(|leader| self.is_alive(broker_of(*leader)));
        match leader {
            Some(leader) if leader != node_of(self.inner.broker) => {
                self.inner.node.call(leader, CALL_CHANGE, body, PASS_ON_WAIT).await
            }
            Some(_) | None => Ok(encode(&self.answer(request).await).into()),
        }
    }

    /// Answers a change as the leader, if this node is.
    async fn answer(&self, request: ChangeRequest) -> CallAnswer {
        if !self.inner.status.borrow().is_leader {
            return Err(NoAnswer::NotLeader);
        }
        self.inner.controller.clone().execute(request, self.alive()).await
    }
}

fn request_in(body: &[u8]) -> Result<ChangeRequest, CallError> {
    ChangeRequest::from_bytes(body).map_err(|error| CallError::Failed(error.to_string()))
}

fn no_answer(reason: NoAnswer) -> MetadataError {
    match reason {
        NoAnswer::NotLeader => MetadataError::NotController,
        NoAnswer::Unavailable => MetadataError::Unavailable,
        NoAnswer::Uncertain => MetadataError::Uncertain,
        NoAnswer::Closed => MetadataError::Closed,
    }
}

/// Serves forwarded changes and elections of peers, and tells what this node knows; other kinds are not
/// served.
impl CallHandler for Metadata {
    fn call(
        &self,
        _from: NodeId,
        kind: u8,
        body: Bytes,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        Box::pin(async move {
            match kind {
                CALL_CHANGE => Ok(encode(&self.answer(request_in(&body)?).await).into()),
                CALL_PASS_ON => self.pass_on(body).await,
                CALL_ELECT => self.answer_election(body).await,
                CALL_HEAR => Ok(self.tell()),
                CALL_LEADERS => self.tell_leaders(&body),
                _ => Err(CallError::NotServed),
            }
        })
    }
}
