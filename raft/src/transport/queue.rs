//! Frames waiting to be written to one peer, and the task that writes them.
//!
//! Urgent frames (answers, votes, heartbeats) go before bulk ones (entries, snapshots, calls); each
//! kind keeps its order. Bulk frames hold bytes of a budget until they are written.
//!
//! **Invariant:** payload bytes are written from where they are (`writev`), never copied together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Bulk bytes taken per round, so that an urgent frame waits for no more than this.
const ROUND_BYTES: usize = 1 << 20;
const SLICES_MAX: usize = 128;

/// A sealed frame.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) head: Bytes,
    pub(crate) chunks: Vec<Bytes>,
    /// The frame's share of the budget, given back when the frame is dropped. `None`: urgent.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Sealed {
    fn len(&self) -> usize {
        self.head.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    urgent: VecDeque<Sealed>,
    bulk: VecDeque<Sealed>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct SendQueue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
}

impl SendQueue {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            budget: Arc::new(Semaphore::new(budget_bytes)),
            budget_bytes,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for a frame of `len` bytes; one larger than the whole budget takes all of
    /// it. `None` once closed.
    pub(crate) async fn room(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(len.min(self.budget_bytes)).unwrap_or(u32::MAX);
        self.budget.clone().acquire_many_owned(bytes).await.ok()
    }

    /// Adds a frame behind those of its kind. Dropped where the queue is closed.
    pub(crate) fn push(&self, frame: Sealed) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        if frame.permit.is_none() {
            waiting.urgent.push_back(frame);
        } else {
            waiting.bulk.push_back(frame);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Drops what waits and refuses what comes.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.urgent.clear();
        waiting.bulk.clear();
        drop(waiting);
        self.budget.close();
        self.wake.notify_one();
    }

    /// The next frames to write, or `None` once closed.
    async fn take(&self, round: &mut Vec<Sealed>) -> Option<()> {
        loop {
            {
                let mut waiting = self.waiting();
                if waiting.closed {
                    return None;
                }
                round.extend(waiting.urgent.drain(..));
                let mut bytes = 0;
                while bytes < ROUND_BYTES {
                    let Some(frame) = waiting.bulk.pop_front() else { break };
                    bytes += frame.len();
                    round.push(frame);
                }
            }
            if !round.is_empty() {
                return Some(());
            }
            self.wake.notified().await;
        }
    }

    /// Writes frames until the queue is closed or the socket fails.
    pub(crate) async fn write_to(&self, mut socket: impl AsyncWrite + Unpin) -> io::Result<()> {
        let (mut round, mut pieces) = (Vec::new(), VecDeque::new());
        while self.take(&mut round).await.is_some() {
            for frame in &mut round {
                pieces.push_back(std::mem::take(&mut frame.head));
                pieces.extend(frame.chunks.drain(..));
            }
            write_pieces(&mut socket, &mut pieces).await?;
            // Gives their bytes of the budget back.
            round.clear();
        }
        Ok(())
    }
}

async fn write_pieces(
    socket: &mut (impl AsyncWrite + Unpin),
    pieces: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        let mut written = {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            socket.write_vectored(&slices[..count]).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            pieces.pop_front();
        }
    }
    Ok(())
}
