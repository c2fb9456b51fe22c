//! All peers of a node and the connections to them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handshake::{Acquaintance, Identity};
use super::io_thread::IoThread;
use super::link::{Inbound, Link};
use super::pace::Pace;
use super::peer::Peer;
use super::{acceptor, dialer};
use crate::id::{ClusterId, NodeId};
use crate::net::{Bound, Connection, Network};
use crate::options::{Limits, NodeOptions, Timing};
use crate::status::PeerStatus;

type Statuses = Arc<BTreeMap<NodeId, PeerStatus>>;

pub(crate) struct Transport {
    me: NodeId,
    cluster: ClusterId,
    timing: Timing,
    limits: Limits,
    pace: Arc<Pace>,
    io: IoThread,
    network: Network,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    statuses: watch::Sender<Statuses>,
    inbound: OnceLock<Arc<dyn Inbound>>,
    leaving: AtomicBool,
    stop: watch::Sender<bool>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Transport {
    pub(crate) fn new(options: &NodeOptions) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            me: options.node,
            cluster: options.cluster.clone(),
            timing: options.timing.clone(),
            limits: options.limits.clone(),
            pace: Pace::new(options.limits.catch_up_bytes_per_s),
            io: if options.has_io_thread { IoThread::start()? } else { IoThread::shared() },
            network: options.network.clone(),
            peers: RwLock::default(),
            statuses: watch::Sender::new(Statuses::default()),
            inbound: OnceLock::new(),
            leaving: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            acceptor: Mutex::default(),
        }))
    }

    /// Begins to listen and to dial. Called once.
    pub(crate) fn start(
        self: &Arc<Self>,
        inbound: Arc<dyn Inbound>,
        listener: Box<dyn Bound>,
        peers: &BTreeMap<NodeId, String>,
    ) -> io::Result<()> {
        let listener = {
            let _here = self.io.handle().enter();
            listener.listen()?
        };
        assert!(self.inbound.set(inbound).is_ok(), "a transport starts once");
        for (node, address) in peers {
            self.set_address(*node, address.clone());
        }
        let acceptor = self.io.spawn(acceptor::run(self.clone(), listener));
        *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
        Ok(())
    }

    pub(crate) fn me(&self) -> NodeId {
        self.me
    }

    pub(super) fn identity(&self) -> Identity<'_> {
        let patience = self.timing.peer_dead();
        Identity { node: self.me, cluster: &self.cluster, patience }
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where connections are served.
    pub(crate) fn io(&self) -> &IoThread {
        &self.io
    }

    /// What peers are dialed in.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Turns to send old entries.
    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.values().cloned().collect()
    }

    /// The connection to `node`, where one stands.
    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.peer(node)?.link()
    }

    /// Every standing connection.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.peers().iter().filter_map(|peer| peer.link()).collect()
    }

    /// Adds a peer, or moves a known one. This node itself is ignored.
    pub(crate) fn set_address(self: &Arc<Self>, node: NodeId, address: String) {
        if node == self.me || *self.stop.borrow() {
            return;
        }
        if let Some(peer) = self.peer(node) {
            return peer.set_address(address);
        }
        let peer = Arc::new(Peer::new(node, address, 2 * self.timing.heartbeat()));
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.insert(node, peer.clone());
        drop(peers);
        self.io.spawn(dialer::run(self.clone(), peer));
        self.refresh_statuses();
    }

    /// Takes over a socket whose hello was accepted, in place of any older connection for the same purpose.
    pub(super) fn attach(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        socket: Connection,
        acquaintance: &Acquaintance,
    ) -> Arc<Link> {
        let link = Arc::new(Link::new(peer.clone(), acquaintance.purpose, &self.limits));
        if *self.stop.borrow() {
            link.close();
            return link;
        }
        let Connection { reader: reading, writer: writing } = socket;
        peer.attach(link.clone(), acquaintance.patience);
        tracing::info!(peer = %peer.id(), purpose = ?link.purpose(), "peer connected");
        let inbound = self.inbound.get().expect("connections come after the start");
        let handler = inbound.connected(&link);
        peer.greeted();
        let writer = link.clone();
        self.io.spawn(async move { writer.write_loop(writing).await });
        let (reader, transport) = (link.clone(), self.clone());
        self.io.spawn(async move {
            reader.read_loop(reading, handler).await;
            reader.peer().detach(&reader);
            transport.refresh_statuses();
        });
        self.refresh_statuses();
        link
    }

    /// Publishes how peers fare. Watchers wake only where a peer connected, left, died or revived.
    pub(crate) fn refresh_statuses(&self) {
        let dead = self.timing.peer_dead();
        let fresh: BTreeMap<_, _> =
            self.peers().iter().map(|peer| (peer.id(), peer.status(dead))).collect();
        self.statuses.send_if_modified(|known| {
            let same = known.len() == fresh.len()
                && known.iter().zip(&fresh).all(|((node, old), (other, new))| {
                    node == other
                        && (old.alive, old.dead, old.connected)
                            == (new.alive, new.dead, new.connected)
                });
            *known = Arc::new(fresh);
            !same
        });
    }

    pub(crate) fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// From now on this node takes no leadership over: it is about to stop.
    pub(crate) fn set_leaving(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Turns true when the node shuts down.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Closes every connection and ends every task. The listener is closed on return.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        for link in self.links() {
            link.close();
        }
        let acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor
            && let Err(error) = acceptor.await
        {
            tracing::error!(%error, "the peer listener ended badly");
        }
    }
}
