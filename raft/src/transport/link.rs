//! An established connection to a peer: requests out and their answers, requests in.
//!
//! **Invariant:** every request ends: by its answer, its deadline, or the connection's loss. An
//! answer that nobody waits for any more is dropped.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::peer::Peer;
use super::queue::{Sealed, SendQueue};
use crate::codec::DecodeError;
use crate::options::Limits;
use crate::wire::{Frame, FrameReader, HEADER_LEN, Outgoing, Purpose, Role, Status};

/// The least that a received request counts against the budget: bounds the number of tiny ones.
const REQUEST_BYTES_MIN: usize = 1 << 10;

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("not connected")]
    Closed,
    #[error("no answer in time")]
    Timeout,
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("refused ({0:?}): {1}")]
    Refused(Status, String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Serves what peers ask of this node.
pub(crate) trait Inbound: Send + Sync + 'static {
    /// A connection stands. The handler serves its requests, in their order, and is dropped when
    /// it ends.
    fn connected(&self, link: &Arc<Link>) -> Box<dyn FrameHandler>;
}

/// Serves the requests of one connection. Must not block: answers come from tasks.
pub(crate) trait FrameHandler: Send {
    /// A request or notice. The permit is held while the request is worked on.
    fn handle(&mut self, frame: Frame, permit: OwnedSemaphorePermit) -> Result<(), DecodeError>;
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Frame, LinkError>>>;

pub(crate) struct Link {
    peer: Arc<Peer>,
    purpose: Purpose,
    since: Instant,
    queue: SendQueue,
    waiting: Mutex<Waiting>,
    next_id: AtomicU64,
    closed: watch::Sender<bool>,
    frame_bytes_max: usize,
    receive_budget: Arc<Semaphore>,
    receive_bytes_max: usize,
}

impl Link {
    pub(super) fn new(peer: Arc<Peer>, purpose: Purpose, limits: &Limits) -> Self {
        Self {
            peer,
            purpose,
            since: Instant::now(),
            queue: SendQueue::new(limits.send_bytes_max),
            waiting: Mutex::default(),
            next_id: AtomicU64::new(1),
            closed: watch::Sender::new(false),
            frame_bytes_max: limits.frame_bytes_max,
            receive_budget: Arc::new(Semaphore::new(limits.receive_bytes_max)),
            receive_bytes_max: limits.receive_bytes_max,
        }
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// When the connection was made.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request ahead of bulk ones. `deadline` is told to the peer.
    pub(crate) fn ask_urgent(
        self: &Arc<Self>,
        frame: Outgoing,
        deadline: Duration,
    ) -> Result<Pending, LinkError> {
        self.ask_now(frame, deadline, None)
    }

    /// Sends a request once the byte budget has room for it. `deadline` is told to the peer, and
    /// bounds the wait for room.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        frame: Outgoing,
        deadline: Duration,
    ) -> Result<Pending, LinkError> {
        self.check_len(&frame)?;
        let room = tokio::time::timeout(deadline, self.queue.room(frame.len())).await;
        let permit = room.map_err(|_| LinkError::Timeout)?.ok_or(LinkError::Closed)?;
        self.ask_now(frame, deadline, Some(permit))
    }

    fn ask_now(
        self: &Arc<Self>,
        frame: Outgoing,
        deadline: Duration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Pending, LinkError> {
        self.check_len(&frame)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if self.is_closed() {
                return Err(LinkError::Closed);
            }
            waiting.insert(id, sender);
        }
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let (head, chunks) = frame.seal(Role::Request, Status::Ok, deadline_ms, id);
        self.queue.push(Sealed { head, chunks, permit });
        Ok(Pending { link: self.clone(), id, receiver })
    }

    /// Sends a frame that wants no answer.
    pub(crate) fn notify(&self, frame: Outgoing) {
        if self.check_len(&frame).is_err() {
            tracing::error!(peer = %self.peer.id(), bytes = frame.len(), "notice too large, dropped");
            return;
        }
        let (head, chunks) = frame.seal(Role::Notice, Status::Ok, 0, 0);
        self.queue.push(Sealed { head, chunks, permit: None });
    }

    /// Answers the request `id` at once. For small answers: they are not held to the budget, so
    /// that answering never waits for the peer to read.
    pub(crate) fn answer(&self, id: u64, status: Status, frame: Outgoing) {
        let (head, chunks) = frame.seal(Role::Answer, status, 0, id);
        self.queue.push(Sealed { head, chunks, permit: None });
    }

    /// Answers the request `id` once the byte budget has room; an error where it is too large.
    pub(crate) async fn answer_bulk(&self, id: u64, frame: Outgoing) -> Result<(), LinkError> {
        self.check_len(&frame)?;
        let permit = self.queue.room(frame.len()).await.ok_or(LinkError::Closed)?;
        let (head, chunks) = frame.seal(Role::Answer, Status::Ok, 0, id);
        self.queue.push(Sealed { head, chunks, permit: Some(permit) });
        Ok(())
    }

    fn check_len(&self, frame: &Outgoing) -> Result<(), LinkError> {
        let len = frame.len();
        if len > self.frame_bytes_max { Err(LinkError::TooLarge(len)) } else { Ok(()) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends the connection; whoever waits for an answer learns it now.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.queue.close();
        let waiting = std::mem::take(&mut *self.waiting());
        for (_, sender) in waiting {
            let _ = sender.send(Err(LinkError::Closed));
        }
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn ended(&self) {
        let mut closed = self.closed.subscribe();
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(super) async fn write_loop(&self, socket: impl AsyncWrite + Unpin) {
        let written = tokio::select! {
            written = self.queue.write_to(socket) => written,
            () = self.ended() => Ok(()),
        };
        if let Err(error) = written {
            tracing::debug!(peer = %self.peer.id(), %error, "connection lost while writing");
        }
        self.close();
    }

    pub(super) async fn read_loop(
        &self,
        mut socket: impl AsyncRead + Unpin,
        mut handler: Box<dyn FrameHandler>,
    ) {
        let read = tokio::select! {
            read = self.read_frames(&mut socket, handler.as_mut()) => read,
            () = self.ended() => Ok(()),
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(peer = %self.peer.id(), %error, "peer connection closed");
            }
            Err(error) => tracing::info!(peer = %self.peer.id(), %error, "peer connection lost"),
            Ok(()) => tracing::debug!(peer = %self.peer.id(), "peer connection ended"),
        }
        self.close();
    }

    async fn read_frames(
        &self,
        socket: &mut (impl AsyncRead + Unpin),
        handler: &mut dyn FrameHandler,
    ) -> io::Result<()> {
        let invalid = |error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut reader = FrameReader::new(self.frame_bytes_max);
        loop {
            while let Some(frame) = reader.next().map_err(invalid)? {
                self.peer.heard();
                if frame.role == Role::Answer {
                    self.settle(frame);
                    continue;
                }
                let bytes = (frame.body.len() + HEADER_LEN).max(REQUEST_BYTES_MIN);
                let bytes = u32::try_from(bytes.min(self.receive_bytes_max)).unwrap_or(u32::MAX);
                let permit = self.receive_budget.clone().acquire_many_owned(bytes).await;
                let permit = permit.map_err(io::Error::other)?;
                handler.handle(frame, permit).map_err(invalid)?;
            }
            if socket.read_buf(reader.buffer()).await? == 0 {
                return match reader.is_empty() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    fn settle(&self, frame: Frame) {
        let Some(sender) = self.waiting().remove(&frame.id) else { return };
        let answer = match frame.status {
            Status::Ok => Ok(frame),
            status => {
                let reason = String::from_utf8_lossy(&frame.body).into_owned();
                Err(LinkError::Refused(status, reason))
            }
        };
        let _ = sender.send(answer);
    }
}

/// A request under way: resolves to its answer. Dropping it forgets the request.
pub(crate) struct Pending {
    link: Arc<Link>,
    id: u64,
    receiver: oneshot::Receiver<Result<Frame, LinkError>>,
}

impl Future for Pending {
    type Output = Result<Frame, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(LinkError::Closed)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.link.waiting().remove(&self.id);
    }
}
