//! openraft's network over our transport: one client per group, target and purpose.
//!
//! **Invariant:** every request has a deadline. openraft backs off from a peer that refuses or does not answer
//! (`Unreachable`), and not from one without a connection (`Network`): entries wait until it has one, see
//! [`AppendStream`].

use std::future::Future;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderResponse,
};

use super::append_stream::AppendStream;
use super::completion::GroupSignals;
use super::machine::BoxedSnapshot;
use super::types::*;
use crate::entry::Snapshot;
use crate::id::{GroupId, NodeId};
use crate::leadership::Leaderships;
use crate::transport::{Link, LinkError, Transport};
use crate::wire::{
    Frame, Kind, Outgoing, SnapshotMessage, TransferAnswer, TransferMessage, VoteAnswer,
    VoteMessage,
};

/// Between two attempts to send what a peer refuses or does not answer; doubles up to the last.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(1);

type RaftSnapshot = openraft::type_config::alias::SnapshotOf<C, BoxedSnapshot>;

/// Makes one group's clients.
#[derive(Clone)]
pub(crate) struct NetworkFactory {
    transport: Arc<Transport>,
    group: GroupId,
    signals: Arc<GroupSignals>,
    leaderships: Arc<Leaderships>,
    sessions: Arc<AtomicU32>,
}

impl NetworkFactory {
    pub(crate) fn new(
        transport: Arc<Transport>,
        group: GroupId,
        signals: Arc<GroupSignals>,
        leaderships: Arc<Leaderships>,
    ) -> Self {
        Self { transport, group, signals, leaderships, sessions: Arc::new(AtomicU32::new(0)) }
    }

    /// Whether whom this replica followed before it stood has not been heard of again. Otherwise it abstains.
    fn may_succeed(&self) -> bool {
        let succeeds = *self.signals.succeeds.lock().unwrap_or_else(PoisonError::into_inner);
        succeeds.is_none_or(|followed| {
            followed.is_free_or_abstain(&self.leaderships, self.group, &self.signals)
        })
    }

    fn client(&self, target: NodeId, append_kind: Kind) -> Network {
        Network { factory: self.clone(), target, append_kind }
    }
}

impl RaftNetworkFactory<C> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, _node: &()) -> Network {
        self.client(target, Kind::Append)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, _node: &()) -> Network {
        self.client(target, Kind::Probe)
    }
}

/// A client of one target. Heartbeats travel as probes, past the entries of their group.
pub(crate) struct Network {
    factory: NetworkFactory,
    target: NodeId,
    append_kind: Kind,
}

pub(super) fn failed(error: impl Into<LinkError>) -> RPCError<C> {
    match error.into() {
        LinkError::Closed => RPCError::Network(NetworkError::from_string(LinkError::Closed)),
        error => RPCError::Unreachable(Unreachable::from_string(error)),
    }
}

impl Network {
    fn link(&self) -> Result<Arc<Link>, LinkError> {
        self.factory.transport.link(self.target).ok_or(LinkError::Closed)
    }

    fn frame(&self, kind: Kind, body_len: usize) -> Outgoing {
        Outgoing::new(kind, self.factory.group, body_len)
    }

    async fn ask_urgent(&self, frame: Outgoing, deadline: Duration) -> Result<Frame, LinkError> {
        let pending = self.link()?.ask_urgent(frame, deadline)?;
        tokio::time::timeout(deadline, pending).await.unwrap_or(Err(LinkError::Timeout))
    }

    async fn ask_vote(
        &self,
        kind: Kind,
        request: VoteRequest,
        deadline: Duration,
    ) -> Result<VoteResponse, RPCError<C>> {
        let mut frame = self.frame(kind, 48);
        let message = VoteMessage {
            vote: from_vote(&request.vote),
            last: request.last_log_id.as_ref().map(from_log_id),
            transfer: request.leadership_transfer,
        };
        message.encode(frame.body());
        let answer = self.ask_urgent(frame, deadline).await.map_err(failed)?;
        let answer = VoteAnswer::decode(answer.body).map_err(failed)?;
        let last = answer.last.map(to_log_id);
        Ok(VoteResponse::new(to_vote(answer.vote), last, answer.granted))
    }

    async fn send_snapshot(&self, message: SnapshotMessage) -> Result<RaftVote, LinkError> {
        let mut frame = self.frame(Kind::Snapshot, 256);
        message.encode(&mut frame);
        let deadline = self.factory.transport.timing().append();
        let pending = self.link()?.ask(frame, deadline).await?;
        let answer = tokio::time::timeout(deadline, pending).await;
        let answer = answer.unwrap_or(Err(LinkError::Timeout))?;
        Ok(to_vote(SnapshotMessage::decode_answer(answer.body)?))
    }
}

impl RaftNetworkV2<C> for Network {
    type SnapshotData = BoxedSnapshot;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        use futures_util::StreamExt;
        let input = futures_util::stream::iter([request]);
        let mut answers = self.stream_append(input, option).await?;
        match answers.next().await {
            Some(answer) => answer.map(AppendEntriesResponse::from),
            None => Err(failed(LinkError::Closed)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<AppendResult, RPCError<C>>>, RPCError<C>>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let transport = &self.factory.transport;
        let deadline = match self.append_kind {
            Kind::Probe => option.hard_ttl(),
            // A slow disk is no dead peer: its heartbeats tell, and end the connection.
            _ => transport.timing().append(),
        };
        let stream = AppendStream {
            input,
            transport: transport.clone(),
            target: self.target,
            group: self.factory.group,
            signals: self.factory.signals.clone(),
            kind: self.append_kind,
            sessions: self.factory.sessions.clone(),
            deadline,
        };
        Box::pin(std::future::ready(Ok(stream.run())))
    }

    async fn vote(
        &mut self,
        request: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RPCError<C>> {
        // To be asked now that this replica has voted for itself: until then it has answered the leader it followed,
        // who may serve reads on the word of that. The voters look in the same way (`crate::succession::Admitted`).
        if !request.leadership_transfer && !self.factory.may_succeed() {
            return Err(failed(LinkError::Closed));
        }
        let over = self.link().map(|link| link.since());
        let (term, here) = (request.vote.leader_id.term, request.last_log_id);
        let answer = self.ask_vote(Kind::Vote, request, option.hard_ttl()).await?;
        if let Ok(over) = over
            && answer.vote_granted
        {
            let [here, there] =
                [here, answer.last_log_id].map(|last| last.as_ref().map(from_log_id));
            self.factory.signals.grants.note((self.target, term, over), here, there);
        }
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RPCError<C>> {
        self.ask_vote(Kind::PreVote, request, option.hard_ttl()).await
    }

    /// Begins anew with each connection: who is back may take what it refused before.
    fn backoff(&self) -> Option<Backoff> {
        let (transport, target) = (self.factory.transport.clone(), self.target);
        let connected = move || transport.link(target).map(|link| link.since());
        let (mut known, mut pause) = (connected(), BACKOFF_FIRST);
        Some(Backoff::new(std::iter::from_fn(move || {
            let connection = connected();
            if connection != known {
                (known, pause) = (connection, BACKOFF_FIRST);
            }
            let this = pause;
            pause = (pause * 2).min(BACKOFF_LAST);
            Some(this)
        })))
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let meta = snapshot.meta;
        let snapshot = Snapshot {
            last: meta.last_log_id.as_ref().map(from_log_id),
            membership: from_stored(&meta.last_membership),
            ..*snapshot.snapshot
        };
        let message = SnapshotMessage { vote: from_vote(&vote), snapshot };
        let sent = async {
            let peer = self.factory.transport.peer(self.target).ok_or(LinkError::Closed)?;
            if peer.link().is_none() {
                // By then there may be a newer one.
                peer.connected().await;
                return Err(LinkError::Closed);
            }
            self.send_snapshot(message).await
        };
        tokio::select! {
            sent = sent => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(LinkError::Closed) => {
                    Err(StreamingError::Network(NetworkError::from_string(LinkError::Closed)))
                }
                Err(error) => Err(StreamingError::Unreachable(Unreachable::from_string(error))),
            },
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        let mut frame = self.frame(Kind::Transfer, 48);
        let message = TransferMessage {
            vote: from_vote(request.from_leader()),
            to: *request.to_node_id(),
            last: request.last_log_id().map(from_log_id),
        };
        message.encode(frame.body());
        let answer = self.ask_urgent(frame, option.hard_ttl()).await.map_err(failed)?;
        let answer = TransferAnswer::decode(answer.body).map_err(failed)?;
        Ok(match answer {
            TransferAnswer::Accepted => Ok(()),
            TransferAnswer::VoteChanged(actual) => Err(TransferLeaderError::VoteChanged {
                expected: *request.from_leader(),
                actual: to_vote(actual),
            }),
            TransferAnswer::NotFlushed(actual) => Err(TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: actual.map(to_log_id),
            }),
        })
    }
}
