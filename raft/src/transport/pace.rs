//! The rate at which a node sends old entries to replicas that were away.
//!
//! Whoever sent some pays for them before its next: so at most one message of each is unpaid.
//!
//! **Invariant:** of those who wait, the one with least left to send is next, so that many groups with
//! little are in sync before one with much.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Turns to send.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_s: u64,
    /// Sent and paid for.
    sent_bytes: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// By entries left to send, then by arrival.
    waiting: BTreeMap<(u64, u64), Waiting>,
    arrivals: u64,
    /// When everything is paid for whose turn has come.
    free_at: Instant,
    /// Whether a task gives turns.
    is_served: bool,
}

#[derive(Debug)]
struct Waiting {
    unpaid_bytes: usize,
    turn: oneshot::Sender<()>,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64) -> Arc<Self> {
        let waiting = BTreeMap::new();
        let queue = Queue { waiting, arrivals: 0, free_at: Instant::now(), is_served: false };
        Arc::new(Self { bytes_per_s, sent_bytes: AtomicU64::new(0), queue: Mutex::new(queue) })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes sent in turns so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Resolves when it is the turn of one who has sent `unpaid_bytes` and has `left` entries to send.
    /// Dropped: gives its place up.
    pub(crate) fn turn(self: &Arc<Self>, unpaid_bytes: usize, left: u64) -> oneshot::Receiver<()> {
        let (turn, receiver) = oneshot::channel();
        let mut queue = self.queue();
        let arrival = queue.arrivals;
        queue.arrivals += 1;
        queue.waiting.insert((left, arrival), Waiting { unpaid_bytes, turn });
        if !std::mem::replace(&mut queue.is_served, true) {
            tokio::spawn(self.clone().serve());
        }
        receiver
    }

    /// Gives turns as long as somebody waits.
    async fn serve(self: Arc<Self>) {
        while let Some(free_at) = self.next_is_free_at() {
            tokio::time::sleep_until(free_at).await;
            let Some((_, next)) = self.queue().waiting.pop_first() else { continue };
            if next.turn.send(()).is_ok() {
                self.sent_bytes.fetch_add(next.unpaid_bytes as u64, Ordering::Relaxed);
                let seconds = next.unpaid_bytes as f64 / self.bytes_per_s as f64;
                let mut queue = self.queue();
                queue.free_at =
                    queue.free_at.max(Instant::now()) + Duration::from_secs_f64(seconds);
            }
        }
    }

    /// `None`, and nobody serves any more, where nobody waits.
    fn next_is_free_at(&self) -> Option<Instant> {
        let mut queue = self.queue();
        queue.is_served = !queue.waiting.is_empty();
        queue.is_served.then_some(queue.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;

    #[tokio::test]
    async fn those_with_little_left_are_first_and_the_rate_is_kept() {
        let pace = Pace::new(1_000 * KIB as u64);
        let begin = Instant::now();
        let mut much = pace.turn(100 * KIB, 1_000);
        let given_up = pace.turn(1 << 30, 1);
        let little = pace.turn(50 * KIB, 2);
        drop(given_up);
        tokio::select! {
            biased;
            _ = &mut much => panic!("whoever has much left was first"),
            turn = little => turn.unwrap(),
        }
        much.await.unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(50), "{:?}", begin.elapsed());
        pace.turn(0, 0).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(150), "{:?}", begin.elapsed());
        assert_eq!(pace.sent_bytes(), 150 * KIB as u64);
    }
}
