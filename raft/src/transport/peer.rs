//! Another node of the cluster: where it is, the connection to it, when it was heard.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::link::Link;
use crate::id::NodeId;
use crate::status::PeerStatus;

pub(crate) struct Peer {
    id: NodeId,
    address: watch::Sender<String>,
    link: Mutex<Option<Arc<Link>>>,
    /// The instant that the counters below count from.
    started: Instant,
    /// Microseconds until the last frame, plus one; 0 before the first.
    heard_us: AtomicU64,
    /// Microseconds of the last round trip, plus one; 0 before the first.
    rtt_us: AtomicU64,
}

impl Peer {
    pub(super) fn new(id: NodeId, address: String) -> Self {
        Self {
            id,
            address: watch::Sender::new(address),
            link: Mutex::default(),
            started: Instant::now(),
            heard_us: AtomicU64::new(0),
            rtt_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(super) fn address(&self) -> watch::Receiver<String> {
        self.address.subscribe()
    }

    pub(super) fn set_address(&self, address: String) {
        self.address.send_if_modified(|known| {
            let changed = *known != address;
            *known = address;
            changed
        });
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, where one stands.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.slot().clone().filter(|link| !link.is_closed())
    }

    pub(super) fn attach(&self, link: Arc<Link>) {
        self.heard();
        let old = self.slot().replace(link);
        if let Some(old) = old {
            old.close();
        }
    }

    pub(super) fn detach(&self, link: &Arc<Link>) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            *slot = None;
        }
    }

    /// A frame came.
    pub(crate) fn heard(&self) {
        self.heard_us.store(micros(self.started.elapsed()) + 1, Ordering::Relaxed);
    }

    /// This peer's clock for round trips, in microseconds.
    pub(crate) fn clock_us(&self) -> u64 {
        micros(self.started.elapsed())
    }

    /// The echo of a heartbeat sent at `sent_us` came.
    pub(crate) fn echoed(&self, sent_us: u64) {
        let rtt = self.clock_us().saturating_sub(sent_us);
        self.rtt_us.store(rtt.saturating_add(1), Ordering::Relaxed);
    }

    /// Whether nothing was heard for `dead`.
    pub(crate) fn silent_for(&self, dead: Duration) -> bool {
        match self.heard_us.load(Ordering::Relaxed) {
            0 => true,
            heard => {
                let heard = Duration::from_micros(heard - 1);
                self.started.elapsed().saturating_sub(heard) >= dead
            }
        }
    }

    pub(crate) fn status(&self, dead: Duration) -> PeerStatus {
        let connected = self.link().is_some();
        let since_start = |value: u64| value.checked_sub(1).map(Duration::from_micros);
        PeerStatus {
            alive: connected && !self.silent_for(dead),
            connected,
            last_seen: since_start(self.heard_us.load(Ordering::Relaxed))
                .map(|heard| self.started + heard),
            rtt: since_start(self.rtt_us.load(Ordering::Relaxed)),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}
