//! A node: its groups, its peers, and who leads what.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::adapter::{
    GroupSignals, LogStore, Machine, NetworkFactory, Raft, SnapshotBuilt, openraft_config,
};
use crate::call::{self, CallHandler, CallSlot};
use crate::counts::{Counts, NodeCounts};
use crate::error::{CallError, HandoverError, RaftError};
use crate::founding;
use crate::group::{Group, GroupParts, ended};
use crate::handover::Handover;
use crate::id::{GroupId, NodeId};
use crate::inbound::NodeInbound;
use crate::incomplete::Incomplete;
use crate::leadership::Leaderships;
use crate::liveness;
use crate::net::Bound;
use crate::options::NodeOptions;
use crate::port::{HardStateStore, LogPort, StateMachine};
use crate::refill::Refiller;
use crate::registry::Registry;
use crate::standing::{Prover, Standing, standing};
use crate::status::{Leadership, PeerStatus, Role};
use crate::status_watch::StatusWatch;
use crate::stir::Stir;
use crate::succession::Succession;
use crate::suffrage::Suffrage;
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
    incomplete: Arc<Incomplete>,
    handover: Arc<Handover>,
    calls: Arc<CallSlot>,
    counts: Arc<Counts>,
}

impl RaftNode {
    /// Starts to listen for peers on `listener` and to dial them. Must run within a tokio runtime.
    pub async fn start(
        options: NodeOptions,
        listener: impl Bound + 'static,
        hard: Arc<dyn HardStateStore>,
    ) -> Result<Self, RaftError> {
        options.validate()?;
        let config = openraft_config(&options)?;
        let transport = Transport::new(&options).map_err(RaftError::Network)?;
        let registry = Arc::new(Registry::default());
        let stir = Arc::new(Stir::default());
        let leaderships = Arc::new(Leaderships::new(&transport, stir.clone()));
        let incomplete = Arc::new(Incomplete::new(&transport));
        let calls = Arc::new(CallSlot::new(registry.clone(), hard.clone()));
        let inbound = NodeInbound {
            transport: transport.clone(),
            registry: registry.clone(),
            leaderships: leaderships.clone(),
            incomplete: incomplete.clone(),
            calls: calls.clone(),
            room: options.room.clone(),
            runtime: Handle::current(),
        };
        let started = transport.start(Arc::new(inbound), Box::new(listener), &options.peers);
        started.map_err(RaftError::Network)?;
        transport.io().spawn(liveness::run(transport.clone()));
        tokio::spawn(touch_on_peer_change(transport.clone(), leaderships.clone()));
        let succession = Succession {
            transport: transport.clone(),
            registry: registry.clone(),
            leaderships: leaderships.clone(),
            stir,
        };
        tokio::spawn(succession.run());
        let handover = Arc::new(Handover {
            transport: transport.clone(),
            registry: registry.clone(),
            incomplete: incomplete.clone(),
        });
        tokio::spawn(handover.clone().run());
        let inner = Inner {
            options,
            config,
            hard,
            transport,
            registry,
            leaderships,
            incomplete,
            handover,
            calls,
            counts: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.inner.options.node
    }

    /// Gives the log of a new group, which is to be opened over it next, its first members. Every voter
    /// may call it, with the same voters; it does nothing where the group holds a log or has voted
    /// already. Resolves once that is on disk.
    pub async fn found_group(
        &self,
        id: GroupId,
        log: &dyn LogPort,
        voters: BTreeSet<NodeId>,
    ) -> Result<(), RaftError> {
        if !voters.contains(&self.id()) {
            return Err(RaftError::NotAVoter(self.id()));
        }
        let founded = founding::found(id, log, &*self.inner.hard, voters).await;
        founded.map_err(|error| RaftError::Storage(error.to_string()))
    }

    /// Opens a group over its ports and joins it. A group whose only voter is this node elects it
    /// at once; a group without a log waits to be initialized or to hear of a leader. `preferred` stands
    /// first where nobody leads. Where the log is empty although this node has voted in the group, it is
    /// lost: it is got back from the leader, and the replica does not vote before it has it all. Where a
    /// vote is lost, peers do not find the group before the replica has heard from them; see
    /// [`Group::suffrage`].
    pub async fn open_group(
        &self,
        id: GroupId,
        log: Arc<dyn LogPort>,
        machine: Arc<dyn StateMachine>,
        preferred: Option<NodeId>,
    ) -> Result<Group, RaftError> {
        let node = &self.inner;
        let claim = node.registry.claim(id)?;
        let me = node.options.node;
        let standing = standing(id, me, &*log, &*node.hard).await;
        let standing = standing.map_err(|error| RaftError::Storage(error.to_string()))?;
        let Standing { suffrage, is_refilling, vote } = standing;
        let (alive, in_use) = mpsc::channel::<Infallible>(1);
        let (port, may_lack) = (Arc::downgrade(&log), log.may_lack());
        let held = log.state().map_err(|error| RaftError::Storage(error.to_string()))?;
        // At most what founded the group.
        let begins = held.last.is_none_or(|last| last.index == 0);
        let append_bytes_max = node.options.limits.append_bytes_max;
        let signals = Arc::new(GroupSignals::default());
        let (hard, told) = (node.hard.clone(), signals.clone());
        let log = LogStore::new(id, log, hard, append_bytes_max, told, alive.clone())
            .map_err(|error| RaftError::Storage(error.to_string()))?;
        let built = Arc::new(watch::Sender::new(SnapshotBuilt::default()));
        let machine = Machine::new(machine, built.clone(), alive);
        let network = NetworkFactory::new(
            node.transport.clone(),
            id,
            signals.clone(),
            node.leaderships.clone(),
        );
        let order = log.order();
        let raft = Raft::new(me, node.config.clone(), network, log, machine).await;
        let raft = raft.map_err(|fatal| ended(&fatal))?;

        let status = StatusWatch::new(raft.metrics());
        let (role, roles) = watch::channel(Role::default());
        let watcher = Watcher {
            group: id,
            raft: raft.clone(),
            signals: signals.clone(),
            leaderships: node.leaderships.clone(),
            counts: node.counts.clone(),
            status: status.clone(),
            role,
        };
        let group = Group::new(GroupParts {
            id,
            raft,
            log: port,
            signals,
            status,
            role: roles,
            built,
            suffrage,
            in_use,
            transport: node.transport.clone(),
            counts: node.counts.clone(),
            preferred,
        });
        group.elect_if_alone().await?;
        tokio::spawn(watcher.run());
        let refiller = Refiller {
            group: group.clone(),
            transport: node.transport.clone(),
            leaderships: node.leaderships.clone(),
            incomplete: node.incomplete.clone(),
            hard: node.hard.clone(),
            order,
        };
        let opened = if suffrage == Suffrage::Unproven {
            let opened = claim.opened_hidden(group.clone());
            let prover = Prover {
                group: group.clone(),
                transport: node.transport.clone(),
                calls: node.calls.clone(),
                hard: node.hard.clone(),
                vote,
            };
            tokio::spawn(self.clone().join_in(prover, refiller, is_refilling));
            opened
        } else {
            if is_refilling || may_lack {
                tokio::spawn(refiller.begin(is_refilling));
            } else if begins {
                tokio::spawn(refiller.be_found());
            }
            claim.opened(group.clone())
        };
        match opened {
            Ok(()) => {
                node.leaderships.stir(group.id());
                Ok(group)
            }
            Err(group) => {
                group.close().await?;
                Err(RaftError::Shutdown)
            }
        }
    }

    /// Lets a replica that may have forgotten a vote take part once it is known where it stands.
    async fn join_in(self, prover: Prover, refiller: Refiller, is_refilling: bool) {
        let group = prover.group.clone();
        if !prover.run().await {
            return;
        }
        group.set_suffrage(match is_refilling {
            true => Suffrage::Refilling { end: None },
            false => Suffrage::Voter,
        });
        if !self.inner.registry.show(group.id()) {
            return;
        }
        self.inner.leaderships.stir(group.id());
        if let Err(error) = group.elect_if_alone().await {
            tracing::warn!(group = %group.id(), %error, "it cannot be elected");
        }
        // A leader that has nothing to send would not be known here: it is asked to say that it leads.
        refiller.begin(is_refilling).await;
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

    /// Who leads a group, of any group of the cluster. `None` while nobody is known to, while the
    /// leader is a peer that is not connected, or this node without a majority behind it (for which it is given a moment
    /// after its election).
    pub fn leader_of(&self, id: GroupId) -> Option<Leadership> {
        let led = self.inner.leaderships.leader_of(id)?;
        let is_here = led.leader == self.id();
        // In this order: it may become ready, and be new no longer, between the two looks.
        let confirmed = |group: Group| group.is_new() || group.is_confirmed();
        (!is_here || self.inner.registry.get(id).is_some_and(confirmed)).then_some(led)
    }

    /// Grows with every change of what [`RaftNode::leader_of`] may answer, but for what time alone takes from it.
    pub fn leadership_version(&self) -> watch::Receiver<u64> {
        self.inner.leaderships.version()
    }

    /// Whether this node started, leaderships changed, or peers were lost a moment ago: elections may be
    /// under way.
    pub fn is_unsettled(&self) -> bool {
        self.inner.leaderships.is_unsettled()
    }

    /// Whether a peer leads groups, or may have done so until shortly before it was lost: one that stops in order
    /// hands them over first.
    pub fn is_or_was_leading(&self, peer: NodeId) -> bool {
        let is_leaving = || self.inner.transport.peer(peer).is_some_and(|peer| peer.is_leaving());
        self.inner.leaderships.has_claims(peer) || is_leaving()
    }

    /// Whether a node's replica of a group is being refilled, as far as its node has told: any group
    /// of the cluster, and this node too.
    pub fn is_refilling(&self, id: GroupId, node: NodeId) -> bool {
        self.inner.incomplete.contains(id, node)
    }

    /// How the peers fare. Wakes when one connects, leaves, dies or revives; the times within are
    /// fresh to a heartbeat whenever it is read.
    pub fn peers(&self) -> watch::Receiver<Arc<BTreeMap<NodeId, PeerStatus>>> {
        self.inner.transport.statuses()
    }

    /// How many groups are open here and led, and what came of elections and hand-overs so far.
    pub fn counts(&self) -> NodeCounts {
        let groups = self.inner.registry.all();
        let led = groups.iter().filter(|group| group.known_role().is_leader).count();
        self.inner.counts.read(groups.len(), led, self.inner.transport.pace().sent_bytes())
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

    /// Hands every group that this node leads to another voter that is ready for it, for at most `limit`:
    /// the last thing before a planned stop, while requests are still served. From the call on it takes none over.
    /// Whether others took any.
    pub async fn hand_over(&self, limit: Duration) -> bool {
        liveness::leave(&self.inner.transport);
        self.inner.handover.all(limit).await
    }

    /// Hands a group that this node leads to the node that is preferred for it, where that one could take
    /// over now. Resolves once it leads.
    pub async fn hand_to_preferred(&self, id: GroupId) -> Result<(), HandoverError> {
        let group = self.group(id).ok_or(HandoverError::NotLeader)?;
        self.inner.handover.to_preferred(&group).await
    }

    /// Closes every connection, and takes no more: peers know at once that this node is gone, and elect others
    /// for what it still leads. Its groups are to be closed next.
    pub async fn leave(&self) {
        self.inner.transport.stop().await;
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
                Ok(()) => leaderships.peer_changed(),
                Err(_) => return,
            },
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}
