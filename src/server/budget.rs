//! The bytes that requests of all connections may hold while they are read or in work.
//!
//! Small frames (heartbeats, commits, metadata) have a share of their own, so that neither large
//! produce requests nor frames that were announced and never come keep a group from living.
//!
//! **Invariant:** a reservation is made in whole before its bytes are read, and freed by its drop;
//! so no two connections wait for each other's rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::options::ServerOptions;

/// Frames of up to this size take from the share for small ones.
const SMALL_FRAME_BYTES: usize = 64 << 10;
/// The share for small frames, as a part of the budget for the others.
const SMALL_SHARE: usize = 8;

/// The budget that all connections of a server share.
#[derive(Debug)]
pub(super) struct Budget {
    small: Share,
    large: Share,
}

#[derive(Debug)]
struct Share {
    bytes: usize,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Bytes granted to one request.
#[derive(Debug)]
pub(super) struct Reservation {
    _bytes: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget that admits at least one frame of the largest size.
    pub(super) fn new(options: &ServerOptions) -> Self {
        let large = options.in_flight_bytes_max.max(options.request_bytes_max);
        let small = (large / SMALL_SHARE).max(SMALL_FRAME_BYTES);
        Self { small: Share::new(small), large: Share::new(large) }
    }

    /// Waits until `bytes` are free.
    pub(super) async fn reserve(&self, bytes: usize) -> Reservation {
        self.share(bytes).reserve(bytes).await
    }

    /// Whether others wait for what a frame of `bytes` holds.
    pub(super) fn is_wanted(&self, bytes: usize) -> bool {
        self.share(bytes).waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes that are granted now.
    pub(super) fn held(&self) -> usize {
        self.small.held() + self.large.held()
    }

    fn share(&self, bytes: usize) -> &Share {
        if bytes <= SMALL_FRAME_BYTES { &self.small } else { &self.large }
    }
}

impl Share {
    fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self { bytes, free: Arc::new(Semaphore::new(bytes)), waiting: AtomicUsize::new(0) }
    }

    async fn reserve(&self, bytes: usize) -> Reservation {
        // A frame's length came as an i32.
        let count = bytes as u32;
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(count) {
            return Reservation { _bytes: permit };
        }
        let _waiting = Waiting::new(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_many_owned(count).await;
        Reservation { _bytes: permit.expect("the semaphore is never closed") }
    }

    fn held(&self) -> usize {
        self.bytes - self.free.available_permits()
    }
}

/// Counts a waiting request, also one whose connection ends while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn budget() -> Budget {
        Budget::new(&ServerOptions {
            request_bytes_max: 1 << 20,
            in_flight_bytes_max: 1 << 20,
            ..ServerOptions::default()
        })
    }

    #[tokio::test]
    async fn large_frames_leave_room_for_small_ones() {
        let budget = budget();
        let large = budget.reserve(1 << 20).await;
        assert!(budget.reserve(SMALL_FRAME_BYTES + 1).now_or_never().is_none());
        let small = budget.reserve(SMALL_FRAME_BYTES).now_or_never();
        assert!(small.is_some());
        assert_eq!(budget.held(), (1 << 20) + SMALL_FRAME_BYTES);
        drop((small, large));
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn a_share_is_wanted_while_someone_waits_for_it() {
        let budget = budget();
        let large = budget.reserve(1 << 20).await;
        let mut waits = Box::pin(budget.reserve(100 << 10));
        assert!(!budget.is_wanted(1 << 20));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(budget.is_wanted(1 << 20) && !budget.is_wanted(100));
        drop(waits);
        assert!(!budget.is_wanted(1 << 20), "a connection that leaves waits no more");
        drop(large);
    }
}
