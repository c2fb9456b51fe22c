//! The handle of one group on this node.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{InitializeError, LinearizableReadError, RaftError as OpenraftError};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::adapter::{Completion, Fatal, GroupSignals, Raft, SnapshotBuilt};
use crate::entry::{Applied, Data};
use crate::error::{ProposeError, RaftError};
use crate::id::{GroupId, LogId, NodeId};
use crate::options::Timing;
use crate::port::LogPort;
use crate::status::{GroupStatus, Role};
use crate::wire::AppendMessage;

/// Longest wait for a snapshot to be built and the log to be purged up to it.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for a closed group to let go of its ports.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// One group's replica on this node. Cheap to clone; usable until the group is closed.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    id: GroupId,
    me: NodeId,
    timing: Timing,
    raft: Raft,
    log: Weak<dyn LogPort>,
    /// A leader was refused that lacks what is committed here; said once.
    contradicted: AtomicBool,
    signals: Arc<GroupSignals>,
    status: watch::Receiver<GroupStatus>,
    role: watch::Receiver<Role>,
    built: Arc<watch::Sender<SnapshotBuilt>>,
    /// Ends once nothing uses the group's ports any more.
    in_use: Mutex<mpsc::Receiver<Infallible>>,
}

/// What a group handle is made of.
pub(crate) struct GroupParts {
    pub(crate) id: GroupId,
    pub(crate) me: NodeId,
    pub(crate) timing: Timing,
    pub(crate) raft: Raft,
    /// Not in use by this: closing the group waits for those who use it.
    pub(crate) log: Weak<dyn LogPort>,
    pub(crate) signals: Arc<GroupSignals>,
    pub(crate) status: watch::Receiver<GroupStatus>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) built: Arc<watch::Sender<SnapshotBuilt>>,
    pub(crate) in_use: mpsc::Receiver<Infallible>,
}

impl Group {
    pub(crate) fn new(parts: GroupParts) -> Self {
        let GroupParts { id, me, timing, raft, log, signals, status, role, built, in_use } = parts;
        let (in_use, contradicted) = (Mutex::new(in_use), AtomicBool::new(false));
        #[rustfmt::skip]
        let inner = Inner {
            id, me, timing, raft, log, contradicted, signals, status, role, built, in_use,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether what a leader says to be in the log is something else here, and was applied. openraft
    /// takes everything that is committed for equal, and would go on behind it: the replicas would
    /// differ for good.
    pub(crate) fn contradicts(&self, message: &AppendMessage) -> bool {
        let Some(log) = self.inner.log.upgrade() else { return false };
        let differs = |said: &LogId| log.applied_term(said.index).is_some_and(|t| t != said.term);
        let Some(at) = message.said().find(differs) else { return false };
        // A leader of the past may have had others, and is told of the new term.
        let last = log.state().ok().and_then(|state| state.last);
        if last.is_some_and(|last| message.vote.term < last.term) {
            return false;
        }
        if !self.inner.contradicted.swap(true, Ordering::Relaxed) {
            tracing::error!(
                group = %self.inner.id, %at,
                "the leader lacks entries that were committed here: nodes lost them before they were \
                 on disk. This replica takes nothing from it; to follow the others, stop this node, move \
                 the partition's folder away, and start it"
            );
        }
        true
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.inner.id
    }

    /// Gives a new group its first members. Every voter may call it, with the same voters; it does
    /// nothing where the group holds a log or has voted already. A group whose only voter is this
    /// node then elects it; for others some voter calls [`Group::elect`].
    pub async fn initialize(&self, voters: BTreeSet<NodeId>) -> Result<(), RaftError> {
        if !voters.contains(&self.inner.me) {
            return Err(RaftError::NotAVoter(self.inner.me));
        }
        let alone = voters.len() == 1;
        match self.raft().initialize(voters).await {
            Ok(()) => {}
            Err(OpenraftError::APIError(InitializeError::NotAllowed(_))) => return Ok(()),
            Err(OpenraftError::APIError(InitializeError::NotInMembers(_))) => {
                return Err(RaftError::NotAVoter(self.inner.me));
            }
            Err(OpenraftError::Fatal(fatal)) => return Err(ended(&fatal)),
        }
        if alone {
            self.raft().trigger().elect(false).await.map_err(|fatal| ended(&fatal))?;
        }
        Ok(())
    }

    /// Submits proposals in order, without waiting for results; each receiver resolves when its
    /// entry is applied, or can no longer be known to be. Proposals of one task keep their order
    /// across calls. Waits only where the group has fallen behind with accepting proposals.
    ///
    /// Fails as a whole where nothing was submitted.
    pub async fn propose(
        &self,
        batch: Vec<Data>,
    ) -> Result<Vec<oneshot::Receiver<Result<Applied, ProposeError>>>, ProposeError> {
        let mut receivers = Vec::with_capacity(batch.len());
        for data in batch {
            let (completion, receiver) = Completion::new(&self.inner.signals);
            match self.raft().client_write_ff(data, Some(completion)).await {
                Ok(()) => receivers.push(receiver),
                Err(fatal) if receivers.is_empty() => return Err(refused(&fatal)),
                Err(fatal) => {
                    let (answer, receiver) = oneshot::channel();
                    let _ = answer.send(Err(refused(&fatal)));
                    receivers.push(receiver);
                }
            }
        }
        Ok(receivers)
    }

    /// The group as this node sees it, now and as it changes.
    pub fn status(&self) -> watch::Receiver<GroupStatus> {
        self.inner.status.clone()
    }

    /// Who leads, and whether this node may serve; wakes at elections only.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.inner.role.clone()
    }

    /// Resolves once this node was confirmed as the leader by a majority after the call, and has
    /// applied everything that was committed before it: a read after it is linearizable
    /// (ReadIndex; Raft dissertation, section 6.4).
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        match self.raft().ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(OpenraftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(self.inner.signals.refusal(&forward))
            }
            Err(OpenraftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ProposeError::Unavailable)
            }
            Err(OpenraftError::Fatal(fatal)) => Err(refused(&fatal)),
        }
    }

    /// Campaigns now, without waiting for an election time-out. The other voters refuse while they
    /// hear a leader. Nothing is retried; watch the status.
    pub async fn elect(&self) {
        let alone = self.inner.status.borrow().voters.len() == 1;
        // An ended group cannot campaign, and its status says that it ended.
        let _ = self.raft().trigger().elect(!alone).await;
    }

    /// Hands leadership to the voter `to`. Resolves once it leads.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError> {
        let mut status = self.inner.status.clone();
        {
            let status = status.borrow_and_update();
            if !status.is_leader {
                return Err(RaftError::NotPossible("this node does not lead the group".into()));
            }
            if !status.voters.contains(&to) {
                return Err(RaftError::NotPossible(format!("node {to} is no voter of the group")));
            }
        }
        if to == self.inner.me {
            return Ok(());
        }
        self.raft().trigger().transfer_leader(to).await.map_err(|fatal| ended(&fatal))?;
        let wait = Duration::from_millis(2 * self.inner.timing.election_max_ms);
        let other =
            |status: &GroupStatus| status.leader.is_some_and(|leader| leader != self.inner.me);
        let changed = tokio::time::timeout(wait, status.wait_for(other)).await;
        match changed.map_err(|_| RaftError::Timeout(wait))? {
            Ok(status) if status.leader == Some(to) => Ok(()),
            Ok(_) => Err(RaftError::NotPossible("another voter won the election".into())),
            Err(_) => Err(RaftError::Shutdown),
        }
    }

    /// Builds a snapshot, at whatever position the state machine chooses, and purges the log up to
    /// it. The snapshot's position. The purge waits for replication that still reads the entries.
    pub async fn snapshot(&self) -> Result<Option<LogId>, RaftError> {
        let mut built = self.inner.built.subscribe();
        let before = built.borrow_and_update().count;
        self.raft().trigger().snapshot().await.map_err(|fatal| ended(&fatal))?;
        let mut status = self.inner.status.clone();
        let finished = async {
            let built = tokio::select! {
                built = built.wait_for(|built| built.count > before) => built.map(|built| *built),
                // The core ended, by an error of the state machine among others.
                _ = status.wait_for(|status| status.fault.is_some()) => return Err(self.fault()),
            };
            let last = built.map_err(|_| RaftError::Shutdown)?.last;
            let mut status = self.inner.status.clone();
            match status.wait_for(|status| status.purged >= last || status.fault.is_some()).await {
                Ok(status) if status.fault.is_none() => Ok(last),
                Ok(_) => Err(self.fault()),
                Err(_) => Err(RaftError::Shutdown),
            }
        };
        let timeout = Err(RaftError::Timeout(SNAPSHOT_WAIT));
        tokio::time::timeout(SNAPSHOT_WAIT, finished).await.unwrap_or(timeout)
    }

    fn fault(&self) -> RaftError {
        match &self.inner.status.borrow().fault {
            Some(fault) => RaftError::Storage(fault.to_string()),
            None => RaftError::Shutdown,
        }
    }

    /// Elects this node where it is the group's only voter: nobody else could object.
    pub(crate) async fn elect_if_alone(&self) -> Result<(), RaftError> {
        let me = self.inner.me;
        let alone = self
            .raft()
            .with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([me]));
        if alone.await.map_err(|fatal| ended(&fatal))? {
            self.raft().trigger().elect(false).await.map_err(|fatal| ended(&fatal))?;
        }
        Ok(())
    }

    /// Ends the group. On return its ports are no longer used, and its status says that it ended.
    pub(crate) async fn close(&self) -> Result<(), RaftError> {
        self.raft().shutdown().await.map_err(|error| RaftError::Storage(error.to_string()))?;
        let ended = async {
            let mut status = self.inner.status.clone();
            while status.changed().await.is_ok() {}
            self.inner.in_use.lock().await.recv().await
        };
        match tokio::time::timeout(CLOSE_WAIT, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(RaftError::Timeout(CLOSE_WAIT)),
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({})", self.inner.id)
    }
}

fn refused(fatal: &Fatal) -> ProposeError {
    match fatal {
        Fatal::Stopped => ProposeError::Shutdown,
        Fatal::StorageError(_) | Fatal::Panicked => ProposeError::Storage,
    }
}

pub(crate) fn ended(fatal: &Fatal) -> RaftError {
    match fatal {
        Fatal::Stopped => RaftError::Shutdown,
        Fatal::StorageError(_) | Fatal::Panicked => RaftError::Storage(fatal.to_string()),
    }
}
