//! Pipelined replication to one peer: requests go out while earlier ones wait for their answers.
//!
//! **Invariant:** requests leave in the order of the input, and answers are yielded in that order.
//! The input is polled before any error is yielded: openraft waits out its backoff inside that poll,
//! and would otherwise spin on a peer that is away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::base::BoxStream;
use openraft::errors::RPCError;
use tokio::time::Instant;

use super::network::unreachable;
use super::types::*;
use crate::id::GroupId;
use crate::transport::{Link, LinkError, Pending};
use crate::wire::{AppendAnswer, AppendMessage, Kind, Outgoing};

/// Requests without an answer, at most: what openraft's receiving side holds as well.
const IN_FLIGHT_MAX: usize = 64;

/// What a stream needs to begin.
pub(super) struct AppendStream<S> {
    pub(super) input: S,
    pub(super) link: Option<Arc<Link>>,
    pub(super) group: GroupId,
    pub(super) kind: Kind,
    pub(super) session: u32,
    pub(super) deadline: Duration,
    pub(super) bytes_max: usize,
}

struct InFlight {
    pending: Pending,
    bytes: usize,
    until: Instant,
}

struct Running<S> {
    stream: AppendStream<S>,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
    input_ended: bool,
}

type Item = Result<AppendResult, RPCError<C>>;

impl<S> AppendStream<S>
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    /// The answers. Ends with the input, or after the first one that is not a match.
    pub(super) fn run(self) -> BoxStream<'static, Item> {
        let running =
            Running { stream: self, in_flight: VecDeque::new(), bytes: 0, input_ended: false };
        Box::pin(stream::unfold(Some(running), |running| async move {
            let mut running = running?;
            let item = running.next().await?;
            let goes_on = matches!(item, Ok(Ok(_)));
            Some((item, goes_on.then_some(running)))
        }))
    }
}

impl<S> Running<S>
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    async fn next(&mut self) -> Option<Item> {
        loop {
            let has_room =
                self.in_flight.len() < IN_FLIGHT_MAX && self.bytes < self.stream.bytes_max;
            let may_send = !self.input_ended && has_room;
            if !may_send && self.in_flight.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                answer = first_answer(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    let answered = self.in_flight.pop_front();
                    self.bytes -= answered.map_or(0, |request| request.bytes);
                    return Some(answer.map_err(unreachable));
                }
                request = self.stream.input.next(), if may_send => match request {
                    None => self.input_ended = true,
                    Some(request) => {
                        if let Err(error) = self.send(request).await {
                            return Some(Err(unreachable(error)));
                        }
                    }
                },
            }
        }
    }

    async fn send(&mut self, request: AppendRequest) -> Result<(), LinkError> {
        let AppendStream { link, group, kind, session, deadline, .. } = &self.stream;
        let link = link.as_ref().ok_or(LinkError::Closed)?;
        let until = Instant::now() + *deadline;
        let head_len = AppendMessage::head_len(request.entries.len());
        let message = AppendMessage {
            session: *session,
            vote: from_vote(&request.vote),
            prev: request.prev_log_id.as_ref().map(from_log_id),
            commit: request.leader_commit.as_ref().map(from_log_id),
            entries: request.entries.into_iter().map(from_entry).collect(),
        };
        let mut frame = Outgoing::new(*kind, *group, head_len);
        message.encode(&mut frame);
        let bytes = frame.len();
        let pending = match kind {
            Kind::Probe => link.ask_urgent(frame, *deadline)?,
            _ => link.ask(frame, *deadline).await?,
        };
        self.bytes += bytes;
        self.in_flight.push_back(InFlight { pending, bytes, until });
        Ok(())
    }
}

/// The answer to the oldest request, which the caller then removes.
async fn first_answer(in_flight: &mut VecDeque<InFlight>) -> Result<AppendResult, LinkError> {
    let Some(first) = in_flight.front_mut() else { return std::future::pending().await };
    let answer = tokio::time::timeout_at(first.until, &mut first.pending).await;
    let frame = answer.unwrap_or(Err(LinkError::Timeout))?;
    Ok(match AppendAnswer::decode(frame.body)? {
        AppendAnswer::Matched(matched) => Ok(matched.map(to_log_id)),
        AppendAnswer::Conflict(at) => Err(AppendError::Conflict(to_log_id(at))),
        AppendAnswer::HigherVote(vote) => Err(AppendError::HigherVote(to_vote(vote))),
    })
}
