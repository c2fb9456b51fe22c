//! Another node of the cluster: where it is, the connection to it, when it was heard.
//!
//! ```text
//! connected ── connection lost ──► unclear ── silent for the dead time ──► dead
//!     ▲                              │  └──── its port refuses: the process is gone ──► dead
//!     └────────── connected ─────────┘
//! ```
//! **Invariant:** a peer is called dead only on proof: it was silent for the dead time (counted from
//! this node's start where it was never heard), or its machine says that nobody listens there. A lost
//! connection alone proves nothing. Silence counts only while this node listens: for a node that was itself
//! stopped or starved, what its peers sent meanwhile waits in its sockets.
//! **Invariant:** whoever acts upon a death has closed the connections to the dead
//! ([`Peer::is_given_up`]): one that comes back is heard over a new one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::link::Link;
use crate::id::NodeId;
use crate::status::PeerStatus;
use crate::wire::Purpose;

pub(crate) struct Peer {
    id: NodeId,
    address: watch::Sender<String>,
    link: Mutex<Option<Arc<Link>>>,
    /// The connection for old entries. It lives no longer than the other.
    catch_up: Mutex<Option<Arc<Link>>>,
    /// Told of every new connection.
    connects: Notify,
    /// The instant that the counters below count from.
    started: Instant,
    /// Microseconds until the last frame, or until silence began to count; 0 at the start.
    heard_us: AtomicU64,
    /// Microseconds until this node was last seen to listen.
    listened_us: AtomicU64,
    /// For how long after that it counts as listening.
    grace: Duration,
    /// Microseconds of silence before the connection that stands.
    away_us: AtomicU64,
    /// Microseconds of silence after which the peer takes this node for dead, as it said last.
    patience_us: AtomicU64,
    /// Whether a frame has ever come.
    was_heard: AtomicBool,
    /// Its port refused a connection after it was heard last.
    refused: AtomicBool,
    /// It has said on the connection that stands that it is about to stop.
    leaving: AtomicBool,
    /// Microseconds until the newest heartbeat was sent that the peer has echoed on the connection that
    /// stands, plus one; 0 without one.
    echoed_us: AtomicU64,
    /// Microseconds of the last round trip, plus one; 0 before the first.
    rtt_us: AtomicU64,
}

impl Peer {
    /// A peer whose silence counts while [`listened`](Self::listened) is called more often than each `grace`.
    pub(super) fn new(id: NodeId, address: String, grace: Duration) -> Self {
        Self {
            id,
            address: watch::Sender::new(address),
            link: Mutex::default(),
            catch_up: Mutex::default(),
            connects: Notify::new(),
            started: Instant::now(),
            heard_us: AtomicU64::new(0),
            listened_us: AtomicU64::new(0),
            grace,
            away_us: AtomicU64::new(0),
            patience_us: AtomicU64::new(u64::MAX),
            was_heard: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            echoed_us: AtomicU64::new(0),
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

    fn catch_up_slot(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.catch_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, where one stands.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.slot().clone().filter(|link| !link.is_closed())
    }

    /// Resolves once a connection stands.
    pub(crate) async fn connected(&self) {
        loop {
            let connects = self.connects.notified();
            if self.link().is_some() {
                return;
            }
            connects.await;
        }
    }

    /// A connection stands, and the peer was greeted on it.
    pub(super) fn greeted(&self) {
        self.connects.notify_waiters();
    }

    /// The connection for old entries, where one stands.
    pub(crate) fn catch_up_link(&self) -> Option<Arc<Link>> {
        self.catch_up_slot().clone().filter(|link| !link.is_closed())
    }

    /// Whether `link` is the connection that stands.
    pub(crate) fn is_current(&self, link: &Link) -> bool {
        self.slot().as_ref().is_some_and(|current| std::ptr::eq(&**current, link))
    }

    /// Takes over a connection to a peer that has `patience` with this node.
    pub(super) fn attach(&self, link: Arc<Link>, patience: Duration) {
        if link.purpose() == Purpose::CatchUp {
            return self.attach_catch_up(link);
        }
        let away = self.clock_us().saturating_sub(self.heard_us.load(Ordering::Relaxed));
        self.away_us.store(away, Ordering::Relaxed);
        self.heard();
        let old = {
            let mut slot = self.slot();
            self.echoed_us.store(0, Ordering::Relaxed);
            self.leaving.store(false, Ordering::Relaxed);
            self.patience_us.store(micros(patience), Ordering::Relaxed);
            slot.replace(link)
        };
        let catch_up = self.catch_up_slot().take();
        for old in old.into_iter().chain(catch_up) {
            old.close();
        }
    }

    fn attach_catch_up(&self, link: Arc<Link>) {
        // Held, so that it cannot stand without the other.
        let main = self.slot();
        if main.as_ref().is_none_or(|main| main.is_closed()) {
            return link.close();
        }
        if let Some(old) = self.catch_up_slot().replace(link) {
            old.close();
        }
    }

    pub(super) fn detach(&self, link: &Arc<Link>) {
        let mut main = self.slot();
        let is_in =
            |slot: &Option<Arc<Link>>| slot.as_ref().is_some_and(|at| Arc::ptr_eq(at, link));
        let is_main = is_in(&main);
        if is_main {
            *main = None;
        }
        let mut catch_up = self.catch_up_slot();
        if (is_main || is_in(&catch_up))
            && let Some(catch_up) = catch_up.take()
        {
            catch_up.close();
        }
    }

    /// A frame came.
    pub(crate) fn heard(&self) {
        self.heard_us.store(self.clock_us(), Ordering::Relaxed);
        self.was_heard.store(true, Ordering::Relaxed);
        if self.refused.load(Ordering::Relaxed) {
            self.refused.store(false, Ordering::Relaxed);
        }
    }

    /// The peer has said on `link` that it is about to stop.
    pub(crate) fn leaves(&self, link: &Link) {
        let slot = self.slot();
        if slot.as_ref().is_some_and(|current| std::ptr::eq(&**current, link)) {
            self.leaving.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is about to stop: it takes no leadership over.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// For how long nothing was heard before the connection that stands.
    pub(crate) fn away(&self) -> Duration {
        Duration::from_micros(self.away_us.load(Ordering::Relaxed))
    }

    /// This node listens. After a break, silence counts from now on.
    pub(crate) fn listened(&self) {
        let now = self.clock_us();
        let before = self.listened_us.load(Ordering::Relaxed);
        if now.saturating_sub(before) > micros(self.grace) {
            self.heard_us.store(now, Ordering::Relaxed);
        }
        // Behind what it excuses.
        self.listened_us.store(now, Ordering::Release);
    }

    /// Nobody listens at its address: whoever was heard there is gone. Whether that is news.
    pub(super) fn refused(&self) -> bool {
        self.link().is_none() && !self.refused.swap(true, Ordering::Relaxed)
    }

    /// This node's clock, in microseconds, for round trips.
    pub(crate) fn clock_us(&self) -> u64 {
        micros(self.started.elapsed())
    }

    /// The echo of a heartbeat sent at `sent_us` came on `link`.
    pub(crate) fn echoed(&self, link: &Link, sent_us: u64) {
        let now = self.clock_us();
        // An echo of what was never sent tells nothing.
        let Some(rtt) = now.checked_sub(sent_us) else { return };
        self.rtt_us.store(rtt.saturating_add(1), Ordering::Relaxed);
        let slot = self.slot();
        if slot.as_ref().is_some_and(|current| std::ptr::eq(&**current, link)) {
            self.echoed_us.fetch_max(sent_us.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// For how long the echo of a heartbeat says that the peer elects nobody else: a tenth less than it
    /// waits before it takes this node for dead, for clocks that run apart.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_micros(self.patience_us.load(Ordering::Relaxed)) * 9 / 10
    }

    /// Whether the peer has heard this node without a break from `since` until less than its
    /// [lease](Self::lease) ago, and with it what was announced at `announced`: it has helped to elect
    /// nobody else since.
    pub(crate) fn vouches(&self, since: Instant, announced: Instant) -> bool {
        // Frames keep their order: whoever echoes a heartbeat has taken in what was sent before it.
        self.echoed_lately().is_some_and(|sent| sent >= announced)
            && self.link().is_some_and(|link| link.since() <= since)
    }

    /// Whether heartbeats come back soon enough for a leader on one side to be confirmed by the other.
    pub(crate) fn is_prompt(&self) -> bool {
        self.echoed_lately().is_some()
    }

    /// When the newest heartbeat was sent that came back, less than a [lease](Self::lease) ago.
    fn echoed_lately(&self) -> Option<Instant> {
        let echoed = self.echoed_us.load(Ordering::Relaxed).checked_sub(1)?;
        let sent = self.started + Duration::from_micros(echoed);
        (sent.elapsed() < self.lease()).then_some(sent)
    }

    /// Whether nothing was heard for `dead` while this node listened.
    fn silent_for(&self, dead: Duration) -> bool {
        let listened = self.listened_us.load(Ordering::Acquire).saturating_add(micros(self.grace));
        let heard = self.heard_us.load(Ordering::Relaxed);
        self.clock_us().min(listened).saturating_sub(heard) >= micros(dead)
    }

    /// Whether it is proven that the peer is gone, see this file's head.
    pub(crate) fn is_dead(&self, dead: Duration) -> bool {
        self.refused.load(Ordering::Relaxed) || self.silent_for(dead)
    }

    /// As [`is_dead`](Self::is_dead), for whoever acts upon it: where it is silence that tells, the
    /// connections end first. What the peer sent meanwhile was then either heard, and it is not dead, or
    /// is never answered: on the word of this node it does not lead what others are elected for.
    pub(crate) fn is_given_up(&self, dead: Duration) -> bool {
        if !self.is_dead(dead) {
            return false;
        }
        self.close_links(dead);
        self.is_dead(dead)
    }

    fn close_links(&self, dead: Duration) {
        // Held, so that no connection for old entries comes to one that is about to be closed.
        let main = self.slot();
        for link in main.iter().chain(&*self.catch_up_slot()).filter(|link| !link.is_closed()) {
            tracing::warn!(peer = %self.id, ?dead, "peer is silent, closing its connection");
            link.close();
        }
    }

    pub(crate) fn status(&self, dead: Duration) -> PeerStatus {
        let connected = self.link().is_some();
        let last_seen = self.started + Duration::from_micros(self.heard_us.load(Ordering::Relaxed));
        PeerStatus {
            alive: connected && !self.silent_for(dead),
            dead: self.is_dead(dead),
            refused: self.refused.load(Ordering::Relaxed),
            connected,
            last_seen: self.was_heard.load(Ordering::Relaxed).then_some(last_seen),
            rtt: self.rtt_us.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Limits;

    #[test]
    fn the_word_of_who_was_given_up_no_longer_counts() {
        let (announced, address) = (Instant::now(), "127.0.0.1:1".to_owned());
        let peer = Arc::new(Peer::new(NodeId(2), address, Duration::from_secs(600)));
        let link = Arc::new(Link::new(peer.clone(), Purpose::Main, &Limits::default()));
        let catch_up = Arc::new(Link::new(peer.clone(), Purpose::CatchUp, &Limits::default()));
        let dead = Duration::from_secs(600);
        peer.attach(link.clone(), dead);
        peer.attach(catch_up.clone(), dead);
        let acked = Instant::now();
        peer.echoed(&link, peer.clock_us());
        assert!(peer.vouches(acked, announced));
        assert!(!peer.is_given_up(dead) && !link.is_closed());

        assert!(peer.is_given_up(Duration::ZERO));
        assert!(link.is_closed() && catch_up.is_closed(), "nothing more is answered");
        peer.heard();
        assert!(!peer.is_dead(dead), "it is back");
        assert!(!peer.vouches(acked, announced));
        let again = Arc::new(Link::new(peer.clone(), Purpose::Main, &Limits::default()));
        peer.attach(again.clone(), dead);
        peer.echoed(&again, peer.clock_us());
        assert!(!peer.vouches(acked, announced), "it may have helped to elect another");
        assert!(peer.vouches(Instant::now(), announced));
    }

    #[test]
    fn who_does_not_listen_blames_nobody() {
        let peer = Peer::new(NodeId(2), "127.0.0.1:1".to_owned(), Duration::ZERO);
        let dead = Duration::from_micros(1);
        let wait = || {
            let from = peer.clock_us();
            while peer.clock_us() < from + 2 {}
        };
        wait();
        assert!(!peer.is_given_up(dead), "it has not begun to listen");
        peer.listened();
        wait();
        assert!(!peer.is_given_up(dead), "it was stopped since");
        peer.listened();
        assert!(!peer.is_given_up(dead), "what waits in its sockets comes first");
    }

    #[test]
    fn silence_counts_while_this_node_listens() {
        let peer = Peer::new(NodeId(2), "127.0.0.1:1".to_owned(), Duration::from_secs(600));
        let dead = Duration::from_millis(1);
        peer.heard();
        assert!(!peer.is_given_up(Duration::from_secs(60)));
        while !peer.is_given_up(dead) {
            peer.listened();
        }
        peer.heard();
        assert!(!peer.is_given_up(Duration::from_secs(60)));
    }
}
