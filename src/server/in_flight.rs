//! Requests of a connection between their reading and the sending of their responses.
//!
//! **Invariant:** a request's bytes count against its connection's and the shared budget until its
//! reply is known, and the request against its connection's limit until the reply is queued.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budget, Reservation};
use super::options::ServerOptions;
use crate::handlers::{Outcome, Reply};
use crate::protocol::ApiKey;

/// Admission of one connection's requests.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    /// Bytes, shared by all connections.
    budget: &'a Budget,
    /// Bytes of this connection.
    own_bytes: Arc<Semaphore>,
    /// Requests of this connection.
    requests: Arc<Semaphore>,
    requests_max: usize,
}

impl<'a> Admission<'a> {
    pub(super) fn new(budget: &'a Budget, options: &ServerOptions) -> Self {
        let requests_max = options.in_flight_requests_max.max(1);
        Self {
            budget,
            // One frame of the largest size, or many small ones.
            own_bytes: Arc::new(Semaphore::new(options.request_bytes_max)),
            requests: Arc::new(Semaphore::new(requests_max)),
            requests_max,
        }
    }

    /// Waits until a request of `bytes` may be read.
    pub(super) async fn admit(&self, bytes: usize) -> Grant {
        // What is this connection's comes first, so that none waits with shared bytes in hand.
        let request = acquire(&self.requests, 1).await;
        let own_bytes = acquire(&self.own_bytes, bytes).await;
        let shared_bytes = self.budget.reserve(bytes).await;
        Grant { request, _own_bytes: own_bytes, _shared_bytes: shared_bytes }
    }

    /// Whether any request is in work.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.available_permits() < self.requests_max
    }
}

/// The right to hold one request.
#[derive(Debug)]
pub(super) struct Grant {
    request: OwnedSemaphorePermit,
    _own_bytes: OwnedSemaphorePermit,
    _shared_bytes: Reservation,
}

async fn acquire(semaphore: &Arc<Semaphore>, count: usize) -> OwnedSemaphorePermit {
    // A frame's length came as an i32, and none of the semaphores is ever closed.
    let permit = Arc::clone(semaphore).acquire_many_owned(count as u32).await;
    permit.expect("the semaphore is never closed")
}

/// What is known of a request when its connection ends because of it.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) client_id: Option<Arc<str>>,
}

/// A begun request, waiting for its reply and for its turn.
pub(super) struct Slot {
    state: State,
    origin: Option<Origin>,
    grant: Option<Grant>,
}

enum State {
    Ready(Option<Reply>),
    Pending(BoxFuture<'static, Reply>),
}

/// A reply in turn. The request counts until this is dropped.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) origin: Origin,
    pub(super) _request: OwnedSemaphorePermit,
}

impl Slot {
    pub(super) fn new(outcome: Outcome, origin: Origin, grant: Grant) -> Self {
        let state = match outcome {
            Outcome::Ready(reply) => State::Ready(Some(reply)),
            Outcome::Pending(future) => State::Pending(future),
        };
        Self { state, origin: Some(origin), grant: Some(grant) }
    }
}

impl Future for Slot {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        let slot = &mut *self;
        let reply = match &mut slot.state {
            State::Ready(reply) => reply.take(),
            State::Pending(future) => match future.as_mut().poll(context) {
                Poll::Ready(reply) => Some(reply),
                Poll::Pending => return Poll::Pending,
            },
        };
        let taken = (reply, slot.origin.take(), slot.grant.take());
        let (Some(reply), Some(origin), Some(grant)) = taken else {
            unreachable!("a slot is not polled again after its reply was taken");
        };
        Poll::Ready(Answered { reply, origin, _request: grant.request })
    }
}
