//! Calls from node to node, for whatever the application wants to say over the same connection.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;

use crate::error::CallError;
use crate::id::{GroupId, NodeId};
use crate::lane::refuse;
use crate::port::HardStateStore;
use crate::registry::Registry;
use crate::transport::{Link, LinkError, Transport};
use crate::wire::{Frame, Kind, Outgoing, Status};

/// Serves calls of peers, and of this node itself.
pub trait CallHandler: Send + Sync + 'static {
    /// Answers a call. `kind` and `body` mean what both ends agreed on; kind 255 is this crate's own. Runs in its own task, and
    /// is dropped once the caller's deadline has passed.
    fn call(&self, from: NodeId, kind: u8, body: Bytes) -> BoxFuture<'_, Result<Bytes, CallError>>;
}

/// The one kind of call that this crate serves itself: which term a node's replica of a group is in. The
/// body is the group's id, the answer a `u64`.
pub(crate) const TERM: u8 = 255;

/// The handler, once there is one.
pub(crate) struct CallSlot {
    handler: RwLock<Option<Arc<dyn CallHandler>>>,
    registry: Arc<Registry>,
    hard: Arc<dyn HardStateStore>,
}

impl CallSlot {
    pub(crate) fn new(registry: Arc<Registry>, hard: Arc<dyn HardStateStore>) -> Self {
        Self { handler: RwLock::default(), registry, hard }
    }

    pub(crate) fn set(&self, handler: Option<Arc<dyn CallHandler>>) {
        *self.handler.write().unwrap_or_else(PoisonError::into_inner) = handler;
    }

    async fn run(&self, from: NodeId, kind: u8, body: Bytes) -> Result<Bytes, CallError> {
        if kind == TERM {
            return self.term(&body);
        }
        let handler = self.handler.read().unwrap_or_else(PoisonError::into_inner).clone();
        match handler {
            Some(handler) => handler.call(from, kind, body).await,
            None => Err(CallError::NotServed),
        }
    }

    /// A vote is saved before anybody hears of it, and when the group is opened it is of its log's term at
    /// least: so what is saved tells the term, and only of an open group.
    fn term(&self, body: &[u8]) -> Result<Bytes, CallError> {
        let failed = |reason: &str| CallError::Failed(reason.to_owned());
        let group = <[u8; GroupId::LEN]>::try_from(body).map_err(|_| failed("no group's id"))?;
        let group = GroupId::from_bytes(group);
        if !self.registry.knows(group) {
            return Err(failed("the group is not open there"));
        }
        let state = self.hard.load(group).map_err(|error| failed(&error.to_string()))?;
        let term = state.vote.map_or(0, |vote| vote.term);
        Ok(Bytes::copy_from_slice(&term.to_be_bytes()))
    }

    /// Answers a peer's call.
    pub(crate) async fn serve(&self, link: &Link, mut frame: Frame) {
        if frame.body.is_empty() {
            return refuse(link, frame.id, Status::Failed, "a call without a kind");
        }
        let kind = frame.body.get_u8();
        let deadline = Duration::from_millis(u64::from(frame.deadline_ms));
        let answer = self.run(link.peer().id(), kind, frame.body);
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(body)) => {
                let mut answer = Outgoing::new(Kind::Call, GroupId::METADATA, 0);
                answer.chunk(body);
                if let Err(error @ LinkError::TooLarge(_)) =
                    link.answer_bulk(frame.id, answer).await
                {
                    refuse(link, frame.id, Status::Failed, &error.to_string());
                }
            }
            Ok(Err(CallError::NotServed)) => refuse(link, frame.id, Status::NotServed, ""),
            Ok(Err(error)) => refuse(link, frame.id, Status::Failed, &error.to_string()),
            // No answer: the caller has given up at the same deadline.
            Err(_) => {}
        }
    }
}

/// Calls `to`, over its connection or, where it is this node, without one.
pub(crate) async fn call(
    transport: &Transport,
    slot: &CallSlot,
    to: NodeId,
    kind: u8,
    body: Bytes,
    deadline: Duration,
) -> Result<Bytes, CallError> {
    let answer = async {
        if to == transport.me() {
            return slot.run(to, kind, body).await;
        }
        let link = transport.link(to).ok_or(CallError::Unreachable(to))?;
        let mut frame = Outgoing::new(Kind::Call, GroupId::METADATA, 1);
        frame.body().put_u8(kind);
        frame.chunk(body);
        let pending = link.ask(frame, deadline).await.map_err(|error| failed(to, error))?;
        pending.await.map(|answer| answer.body).map_err(|error| failed(to, error))
    };
    tokio::time::timeout(deadline, answer).await.unwrap_or(Err(CallError::Timeout))
}

fn failed(to: NodeId, error: LinkError) -> CallError {
    match error {
        LinkError::Closed => CallError::Unreachable(to),
        LinkError::Timeout => CallError::Timeout,
        LinkError::TooLarge(bytes) => CallError::TooLarge(bytes),
        LinkError::Refused(Status::NotServed, _) => CallError::NotServed,
        LinkError::Refused(_, reason) => CallError::Failed(reason),
        LinkError::Decode(error) => CallError::Failed(error.to_string()),
    }
}
