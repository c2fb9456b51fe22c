//! A node: its groups, its peers, and who leads what.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::adapter::{
    GroupSignals, LogStore, Machine, NetworkFactory, Raft, SnapshotBuilt, openraft_config,
};
use crate::call::{self, CallHandler, CallSlot};
use crate::error::{CallError, RaftError};
use crate::group::{Group, GroupParts, ended};
use crate::id::{GroupId, NodeId};
use crate::inbound::NodeInbound;
use crate::leadership::Leaderships;
use crate::liveness;
use crate::options::NodeOptions;
use crate::port::{HardStateStore, LogPort, StateMachine};
use crate::registry::Registry;
use crate::status::{GroupStatus, Leadership, PeerStatus, Role};
use crate::transport::Transport;
use crate::watcher::Watcher;

/// A node of the cluster. Cheap to clone; runs until [`RaftNode::shutdown`].
#[derive(Clone)]
pub struct RaftNode {
    inner: Arc<Inner>,
}

struct Inner {
    options: NodeOptions,
    config: Arc<openraft::Config>,
    hard: Arc<dyn HardStateStore>,
    transport: Arc<Transport>,
    registry: Arc<Registry>,
    leaderships: Arc<Leaderships>,
    calls: Arc<CallSlot>,
}

impl RaftNode {
    /// Starts to listen for peers on `listener` and to dial them. Must run within a tokio runtime.
    pub async fn start(
        options: NodeOptions,
        listener: std::net::TcpListener,
        hard: Arc<dyn HardStateStore>,
    ) -> Result<Self, RaftError> {
        options.validate()?;
        let config = openraft_config(&options)?;
        listener.set_nonblocking(true).map_err(RaftError::Network)?;
        let listener = TcpListener::from_std(listener).map_err(RaftError::Network)?;
        let transport = Transport::new(&options);
        let registry = Arc::new(Registry::default());
        let leaderships = Arc::new(Leaderships::new(&transport));
        let calls = Arc::new(CallSlot::default());
        let inbound = NodeInbound {
            registry: registry.clone(),
            leaderships: leaderships.clone(),
            calls: calls.clone(),
            room: options.room.clone(),
        };
        transport.start(Arc::new(inbound), listener, &options.peers);
        tokio::spawn(liveness::run(transport.clone()));
        tokio::spawn(touch_on_peer_change(transport.clone(), leaderships.clone()));
        let inner = Inner { options, config, hard, transport, registry, leaderships, calls };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.inner.options.node
    }

    /// Opens a group over its ports and joins it. A group whose only voter is this node elects it
    /// at once; a group without a log waits to be initialized or to hear of a leader.
    pub async fn open_group(
        &self,
        id: GroupId,
        log: Arc<dyn LogPort>,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Group, RaftError> {
        let node = &self.inner;
        let claim = node.registry.claim(id)?;
        let (alive, in_use) = mpsc::channel::<Infallible>(1);
        let port = Arc::downgrade(&log);
        let append_bytes_max = node.options.limits.append_bytes_max;
        let log = LogStore::new(id, log, node.hard.clone(), append_bytes_max, alive.clone())
            .map_err(|error| RaftError::Storage(error.to_string()))?;
        let built = Arc::new(watch::Sender::new(SnapshotBuilt::default()));
        let machine = Machine::new(machine, built.clone(), alive);
        let network = NetworkFactory::new(node.transport.clone(), id);
        let me = node.options.node;
        let raft = Raft::new(me, node.config.clone(), network, log, machine).await;
        let raft = raft.map_err(|fatal| ended(&fatal))?;

        let signals = Arc::new(GroupSignals::default());
        let (status, statuses) = watch::channel(GroupStatus::default());
        let (role, roles) = watch::channel(Role::default());
        let watcher = Watcher {
            group: id,
            raft: raft.clone(),
            signals: signals.clone(),
            leaderships: node.leaderships.clone(),
            status,
            role,
        };
        let timing = node.options.timing.clone();
        let status = statuses;
        let group = Group::new(GroupParts {
            id,
            me,
            timing,
            raft,
            log: port,
            signals,
            status,
            role: roles,
            built,
            in_use,
        });
        group.elect_if_alone().await?;
        tokio::spawn(watcher.run());
        match claim.opened(group.clone()) {
            Ok(()) => Ok(group),
            Err(group) => {
                group.close().await?;
                Err(RaftError::Shutdown)
            }
        }
    }

    /// Ends this node's part in a group; its ports are no longer used on return. What the hard
    /// state store remembers of it stays.
    pub async fn close_group(&self, id: GroupId) -> Result<(), RaftError> {
        let group = self.inner.registry.remove(id).ok_or(RaftError::Unknown(id))?;
        group.close().await
    }

    /// A group that is open here.
    pub fn group(&self, id: GroupId) -> Option<Group> {
        self.inner.registry.get(id)
    }

    /// Who leads a group, of any group of the cluster. `None` while nobody is known to, or while
    /// the leader is a peer that is dead.
    pub fn leader_of(&self, id: GroupId) -> Option<Leadership> {
        self.inner.leaderships.leader_of(id)
    }

    /// Grows with every change of what [`RaftNode::leader_of`] may answer.
    pub fn leadership_version(&self) -> watch::Receiver<u64> {
        self.inner.leaderships.version()
    }

    /// How the peers fare. Wakes when one connects, leaves, dies or revives; the times within are
    /// fresh to a heartbeat whenever it is read.
    pub fn peers(&self) -> watch::Receiver<Arc<BTreeMap<NodeId, PeerStatus>>> {
        self.inner.transport.statuses()
    }

    /// Serves calls by `handler` from now on.
    pub fn serve_calls(&self, handler: Arc<dyn CallHandler>) {
        self.inner.calls.set(Some(handler));
    }

    /// Calls `to`'s handler and waits for its answer, for at most `deadline`. A call to this node
    /// itself goes without a socket.
    pub async fn call(
        &self,
        to: NodeId,
        kind: u8,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let Inner { transport, calls, .. } = &*self.inner;
        if *transport.stopped().borrow() {
            return Err(CallError::Shutdown);
        }
        call::call(transport, calls, to, kind, body, deadline).await
    }

    /// Adds a peer, or tells where a known one is to be found from the next connection on.
    pub fn set_peer_address(&self, node: NodeId, address: String) {
        self.inner.transport.set_address(node, address);
    }

    /// Closes every group and every connection. Returns once no port is in use any more.
    pub async fn shutdown(&self) {
        let groups = self.inner.registry.close();
        let closing = groups.iter().map(|group| async move {
            if let Err(error) = group.close().await {
                tracing::error!(group = %group.id(), %error, "group did not close cleanly");
            }
        });
        futures_util::future::join_all(closing).await;
        self.inner.calls.set(None);
        self.inner.transport.stop().await;
    }
}

impl std::fmt::Debug for RaftNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RaftNode({})", self.inner.options.node)
    }
}

/// A leader that died or came back changes what is displayed of it.
async fn touch_on_peer_change(transport: Arc<Transport>, leaderships: Arc<Leaderships>) {
    let (mut statuses, mut stopped) = (transport.statuses(), transport.stopped());
    loop {
        tokio::select! {
            changed = statuses.changed() => match changed {
                Ok(()) => leaderships.touch(),
                Err(_) => return,
            },
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}
