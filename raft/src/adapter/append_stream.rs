//! Pipelined replication to one peer: requests go out while earlier ones wait for their answers.
//!
//! A replica that is far behind is sent what it missed on a connection of its own and at a bounded rate
//! (see `Transport::pace`), until it is near the end.
//!
//! **Invariant:** requests leave in the order of the input, and answers are yielded in that order: before
//! the connection changes, everything that went over the other one is answered.
//! A peer without a connection is sent nothing, and nothing is read for it: the stream waits until it has one, and
//! then ends, so that openraft begins anew with what the peer lacks by then. It ends as well where the log is to be
//! purged: openraft keeps what a stream is about to send.
//!
//! **Invariant:** otherwise the input is polled before any error is yielded: openraft waits out its backoff inside
//! that poll, and would spin on a peer that refuses.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::base::BoxStream;
use openraft::errors::RPCError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::completion::GroupSignals;
use super::network::failed;
use super::types::*;
use crate::entry::Payload;
use crate::id::{GroupId, NodeId};
use crate::transport::{Link, LinkError, Pending, Transport};
use crate::wire::{AppendAnswer, AppendMessage, Kind, Outgoing};

/// Requests without an answer, at most: what openraft's receiving side holds as well.
const IN_FLIGHT_MAX: usize = 64;
/// A replica is far behind if it lacks so many entries that are committed, beside those of a request.
const FAR_ENTRIES: u64 = 128;
/// And if so many bytes of a request are committed already.
const FAR_BYTES: usize = 1 << 20;

/// What a stream needs to begin.
pub(super) struct AppendStream<S> {
    pub(super) input: S,
    pub(super) transport: Arc<Transport>,
    pub(super) target: NodeId,
    pub(super) group: GroupId,
    pub(super) signals: Arc<GroupSignals>,
    pub(super) kind: Kind,
    pub(super) sessions: Arc<AtomicU32>,
    pub(super) deadline: Duration,
}

struct InFlight {
    pending: Pending,
    /// The leader's term, and when it began to send.
    term: u64,
    sent: std::time::Instant,
    /// Since when its connection has stood, unless it is the one for old entries.
    over: Option<std::time::Instant>,
    bytes: usize,
    until: Instant,
}

/// The connection that requests go over, and the session that the peer knows them by.
struct Route {
    link: Option<Arc<Link>>,
    session: u32,
    is_catch_up: bool,
}

struct Running<S> {
    stream: AppendStream<S>,
    route: Route,
    /// The next to be sent.
    pulled: Option<AppendRequest>,
    /// When the next request may be sent to a replica that is far behind.
    turn: Option<oneshot::Receiver<()>>,
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
        if let Some(peer) = self.transport.peer(self.target)
            && self.kind == Kind::Append
            && peer.link().is_none()
        {
            let signals = self.signals;
            return Box::pin(stream::once(async move {
                tokio::select! {
                    () = peer.connected() => {}
                    () = signals.purges.notified() => {}
                }
                Err(failed(LinkError::Closed))
            }));
        }
        let running = Running {
            route: self.route(false),
            stream: self,
            pulled: None,
            turn: None,
            in_flight: VecDeque::new(),
            bytes: 0,
            input_ended: false,
        };
        Box::pin(stream::unfold(Some(running), |running| async move {
            let mut running = running?;
            let item = running.next().await?;
            let goes_on = matches!(item, Ok(Ok(_)));
            Some((item, goes_on.then_some(running)))
        }))
    }

    fn route(&self, is_catch_up: bool) -> Route {
        let peer = self.transport.peer(self.target);
        // Where there is no second connection just now, the first serves.
        let second = peer.as_ref().filter(|_| is_catch_up).and_then(|peer| peer.catch_up_link());
        let link = second.or_else(|| peer.and_then(|peer| peer.link()));
        Route { link, session: self.sessions.fetch_add(1, Ordering::Relaxed), is_catch_up }
    }

    /// The next request, in its turn.
    async fn pull(&mut self, turn: &mut Option<oneshot::Receiver<()>>) -> Option<AppendRequest> {
        if let Some(turn) = turn {
            // Fails only while the runtime shuts down.
            let _ = turn.await;
        }
        *turn = None;
        self.input.next().await
    }
}

impl<S> Running<S>
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    async fn next(&mut self) -> Option<Item> {
        let bytes_max = self.stream.transport.limits().pipeline_bytes_max;
        loop {
            if let Some(last) = self.take_held() {
                return Some(Ok(Ok(Some(last))));
            }
            if let Some(request) = self.sendable()
                && let Err(error) = self.send(request).await
            {
                return Some(Err(self.fail(error)));
            }
            let has_room = self.in_flight.len() < IN_FLIGHT_MAX && self.bytes < bytes_max;
            let may_send = !self.input_ended && self.pulled.is_none() && has_room;
            if !may_send && self.in_flight.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                answer = first_answer(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    if let Some(request) = self.in_flight.pop_front() {
                        self.bytes -= request.bytes;
                        self.note(&request, &answer);
                    }
                    return Some(answer.map_err(|error| self.fail(error)));
                }
                request = self.stream.pull(&mut self.turn), if may_send => {
                    self.input_ended = request.is_none();
                    self.pulled = request;
                }
            }
        }
    }

    /// What was under way may be lost.
    fn fail(&self, error: LinkError) -> RPCError<C> {
        if self.stream.kind == Kind::Append {
            self.stream.signals.acks.fail(self.stream.target);
            self.stream.signals.untold.notify_one();
        }
        failed(error)
    }

    /// Whoever takes entries, or says where its log differs, takes this node for the leader.
    fn note(&self, request: &InFlight, answer: &Result<AppendResult, LinkError>) {
        if matches!(answer, Ok(Ok(_) | Err(AppendError::Conflict(_)))) {
            let AppendStream { signals, target, .. } = &self.stream;
            signals.acks.note(*target, request.term, request.sent, request.over);
            if matches!(answer, Ok(Err(_))) {
                signals.grants.forget(*target);
            }
        }
    }

    /// The last entry of the request that was pulled, where the target holds all of them and need not be sent it.
    fn take_held(&mut self) -> Option<RaftLogId> {
        let AppendStream { signals, target, .. } = &self.stream;
        let request = self.pulled.as_ref().filter(|_| self.in_flight.is_empty())?;
        let last = request.entries.last()?.log_id;
        let over = self.route.link.as_ref().filter(|_| !self.route.is_catch_up)?.since();
        let said = (*target, request.vote.leader_id.term, over);
        let is_held = signals.grants.holds(said, last.index);
        is_held.then(|| self.pulled.take()).flatten()?;
        Some(last)
    }

    /// The request that was pulled, once it may go out: over another connection than those before it
    /// not before they are answered.
    fn sendable(&mut self) -> Option<AppendRequest> {
        let request = self.pulled.take()?;
        let is_catch_up = self.is_catch_up(&request);
        if is_catch_up != self.route.is_catch_up {
            if !self.in_flight.is_empty() {
                self.pulled = Some(request);
                return None;
            }
            self.route = self.stream.route(is_catch_up);
        }
        Some(request)
    }

    /// Whether a request goes over the second connection.
    fn is_catch_up(&self, request: &AppendRequest) -> bool {
        let is_paced = self.stream.kind == Kind::Append && self.stream.group != GroupId::METADATA;
        if request.entries.is_empty() || !is_paced {
            return self.route.is_catch_up;
        }
        match left(request) {
            None => false,
            Some(left) if left >= FAR_ENTRIES => true,
            Some(_) => self.route.is_catch_up || bytes_of(request) >= FAR_BYTES,
        }
    }

    async fn send(&mut self, request: AppendRequest) -> Result<(), LinkError> {
        let AppendStream { group, kind, deadline, transport, .. } = &self.stream;
        let link = self.route.link.as_ref().ok_or(LinkError::Closed)?;
        let (until, sent) = (Instant::now() + *deadline, std::time::Instant::now());
        let (left, term) = (left(&request), request.vote.leader_id.term);
        let head_len = AppendMessage::head_len(request.entries.len());
        let message = AppendMessage {
            session: self.route.session,
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
        if self.route.is_catch_up {
            self.turn = Some(transport.pace().turn(bytes, left.unwrap_or(0)));
        }
        self.bytes += bytes;
        let over = (!self.route.is_catch_up).then(|| link.since());
        self.in_flight.push_back(InFlight { pending, term, sent, over, bytes, until });
        Ok(())
    }
}

/// How many entries that are committed a replica lacks beside those of a request. `None` where not all
/// of the request are committed, and it helps to commit them.
fn left(request: &AppendRequest) -> Option<u64> {
    let last = request.entries.last()?.log_id.index;
    request.leader_commit.as_ref()?.index.checked_sub(last)
}

fn bytes_of(request: &AppendRequest) -> usize {
    let data = request.entries.iter().map(|entry| match &entry.payload {
        Payload::Data(data) => data.bytes.len(),
        Payload::Blank | Payload::Membership(_) => 0,
    });
    data.sum()
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
