//! The handle of one group on this node.

mod tenure;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use openraft::ReadPolicy;
use openraft::errors::{InitializeError, LinearizableReadError, RaftError as OpenraftError};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::adapter::{Completion, Fatal, GroupSignals, Raft, SnapshotBuilt, disable_lease};
use crate::counts::Counts;
use crate::entry::{Applied, Data};
use crate::error::{ProposeError, RaftError};
use crate::id::{GroupId, LogId, NodeId};
use crate::lag::Lag;
use crate::port::LogPort;
use crate::status::{GroupStatus, Role};
use crate::status_watch::StatusWatch;
use crate::succession::Followed;
use crate::suffrage::Suffrage;
use crate::transport::Transport;
use crate::turns::Rival;
use crate::wire::{AppendMessage, Candidacy};

/// Longest wait for a snapshot to be built and the log to be purged up to it.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(30);
/// Between two attempts to have the log purged; doubles up to the last.
const PURGE_RETRY_FIRST: Duration = Duration::from_millis(10);
const PURGE_RETRY_LAST: Duration = Duration::from_secs(1);
/// Longest wait for a majority to confirm the leader.
const BARRIER_WAIT: Duration = Duration::from_secs(2);
/// Longest wait for another voter to take over.
const TRANSFER_WAIT: Duration = Duration::from_secs(2);
/// Longest wait for a closed group to let go of its ports.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// One group's replica on this node. Cheap to clone; usable until the group is closed.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    id: GroupId,
    raft: Raft,
    log: Weak<dyn LogPort>,
    /// A leader was refused that lacks what is committed here; said once.
    contradicted: AtomicBool,
    signals: Arc<GroupSignals>,
    status: StatusWatch,
    role: watch::Receiver<Role>,
    built: Arc<watch::Sender<SnapshotBuilt>>,
    suffrage: watch::Sender<Suffrage>,
    /// A refilling replica may vote for the only other one; see [`Group::initialize`].
    of_two: AtomicBool,
    /// Ends once nothing uses the group's ports any more.
    in_use: Mutex<mpsc::Receiver<Infallible>>,
    transport: Arc<Transport>,
    counts: Arc<Counts>,
    /// The voter that stands first where nobody leads.
    preferred: Option<NodeId>,
    /// The last candidate that has asked for this replica's vote, until the next look at elections.
    rival: std::sync::Mutex<Option<Rival>>,
}

/// What a group handle is made of.
pub(crate) struct GroupParts {
    pub(crate) id: GroupId,
    pub(crate) raft: Raft,
    /// Not in use by this: closing the group waits for those who use it.
    pub(crate) log: Weak<dyn LogPort>,
    pub(crate) signals: Arc<GroupSignals>,
    pub(crate) status: StatusWatch,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) built: Arc<watch::Sender<SnapshotBuilt>>,
    pub(crate) suffrage: Suffrage,
    pub(crate) in_use: mpsc::Receiver<Infallible>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) preferred: Option<NodeId>,
}

impl Group {
    pub(crate) fn new(parts: GroupParts) -> Self {
        let inner = Inner {
            id: parts.id,
            raft: parts.raft,
            log: parts.log,
            contradicted: AtomicBool::new(false),
            signals: parts.signals,
            status: parts.status,
            role: parts.role,
            built: parts.built,
            suffrage: watch::Sender::new(parts.suffrage),
            of_two: AtomicBool::new(false),
            in_use: Mutex::new(parts.in_use),
            transport: parts.transport,
            counts: parts.counts,
            preferred: parts.preferred,
            rival: std::sync::Mutex::default(),
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

    /// Whether a candidate has what it takes to get this replica's vote: all that is in the log here, and a later term.
    pub(crate) fn would_vote(&self, term: u64, last: Option<LogId>) -> bool {
        let own = self.candidacy();
        term > self.voted() && own.is_some_and(|own| last >= own.last) && !self.has_ended()
    }

    /// The latest term that this replica has voted in.
    pub(crate) fn voted(&self) -> u64 {
        self.inner.signals.voted.load(Ordering::Acquire)
    }

    /// With what this replica would stand; `None` where the group is being closed or its log cannot be read.
    pub(crate) fn candidacy(&self) -> Option<Candidacy> {
        let last = self.inner.log.upgrade()?.state().ok()?.last;
        let term = self.voted().saturating_add(1);
        Some(Candidacy { group: self.id(), term, last })
    }

    pub(crate) fn signals(&self) -> &GroupSignals {
        &self.inner.signals
    }

    /// Whether this replica helps to elect nobody ([`GroupSignals::abstain`]).
    pub(crate) fn abstains(&self) -> bool {
        let since = self.inner.signals.abstained.get();
        since.is_some_and(|since| since.elapsed() < self.inner.transport.timing().peer_dead())
    }

    /// Another voter has asked for this one's vote: that bears upon when this one stands.
    pub(crate) fn note_rival(&self, rival: Rival) {
        *self.inner.rival.lock().unwrap_or_else(PoisonError::into_inner) = Some(rival);
    }

    /// The last voter that has asked since this was called.
    pub(crate) fn take_rival(&self) -> Option<Rival> {
        self.inner.rival.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.inner.id
    }

    fn me(&self) -> NodeId {
        self.inner.transport.me()
    }

    pub(crate) fn preferred(&self) -> Option<NodeId> {
        self.inner.preferred
    }

    /// Gives a new group its first members. Every voter may call it, with the same voters; it does
    /// nothing where the group holds a log or has voted already. An election follows by itself.
    pub async fn initialize(&self, voters: BTreeSet<NodeId>) -> Result<(), RaftError> {
        if !voters.contains(&self.me()) {
            return Err(RaftError::NotAVoter(self.me()));
        }
        if matches!(*self.inner.suffrage.borrow(), Suffrage::Unproven | Suffrage::Refilling { .. })
        {
            // Of two, the other one has every entry that was ever committed: it may be voted for.
            self.inner.of_two.store(voters.len() == 2, Ordering::Release);
            return Ok(());
        }
        let alone = voters.len() == 1;
        let initialized = match self.raft().initialize(voters).await {
            Ok(()) => true,
            Err(OpenraftError::APIError(InitializeError::NotAllowed(_))) => false,
            Err(OpenraftError::APIError(InitializeError::NotInMembers(_))) => {
                return Err(RaftError::NotAVoter(self.me()));
            }
            Err(OpenraftError::Fatal(fatal)) => return Err(ended(&fatal)),
        };
        // Not before: a vote is saved after all appends, so that who has voted has had a log.
        self.set_suffrage(Suffrage::Voter);
        if initialized && alone {
            self.inner.counts.stood();
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
    pub fn status(&self) -> StatusWatch {
        self.inner.status.clone()
    }

    /// Who leads, and whether this node may serve; wakes at elections only.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.inner.role.clone()
    }

    /// Who leads, as the node has been told.
    pub(crate) fn known_role(&self) -> Role {
        *self.inner.role.borrow()
    }

    /// Whether the group has ended on this node.
    pub(crate) fn has_ended(&self) -> bool {
        self.inner.status.has_ended()
    }

    /// Resolves once this node was confirmed as the leader by a majority after the call, and has
    /// applied everything that was committed before it: a read after it is linearizable
    /// (ReadIndex; Raft dissertation, section 6.4).
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        let confirmed = self.confirmed_after(Instant::now());
        let confirmed = tokio::time::timeout(BARRIER_WAIT, confirmed).await;
        confirmed.map_err(|_| ProposeError::Unavailable)?
    }

    async fn confirmed_after(&self, began: Instant) -> Result<(), ProposeError> {
        match self.raft().ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => {
                // openraft counts what no voter has answered as well (`crate::adapter::Grants`), and takes the answer to
                // an entry for one to what was sent later and brings nothing new.
                let is_confirmed = || self.has_been_confirmed_since(began);
                self.inner.signals.acks.wait_for(is_confirmed).await;
                Ok(())
            }
            Err(OpenraftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(self.inner.signals.refusal(&forward))
            }
            Err(OpenraftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ProposeError::Unavailable)
            }
            Err(OpenraftError::Fatal(fatal)) => Err(refused(&fatal)),
        }
    }

    /// What this node's replica is in its group: whether it votes. From [`Suffrage::New`] or
    /// [`Suffrage::Refilling`] it changes to [`Suffrage::Voter`], from [`Suffrage::Unproven`] to either of
    /// the latter two.
    pub fn suffrage(&self) -> watch::Receiver<Suffrage> {
        self.inner.suffrage.subscribe()
    }

    /// Where the log here ends, as the leader whom a majority has confirmed after the call: nothing
    /// that was committed before, or that any member has acknowledged before, lies behind it.
    pub async fn confirmed_end(&self) -> Result<u64, ProposeError> {
        self.read_barrier().await?;
        let end = self.raft().with_raft_state(|state| {
            let last = state.log_ids.last().map(|last| last.index);
            last.filter(|_| state.server_state.is_leader())
        });
        end.await.map_err(|fatal| refused(&fatal))?.ok_or(ProposeError::Unavailable)
    }

    pub(crate) fn set_suffrage(&self, suffrage: Suffrage) {
        self.inner.suffrage.send_replace(suffrage);
    }

    /// Whether this replica may campaign.
    pub(crate) fn may_lead(&self) -> bool {
        *self.inner.suffrage.borrow() == Suffrage::Voter
    }

    /// Whether this replica may grant votes. One that is about to be told its members is waited for.
    pub(crate) async fn may_vote(&self, wait: Duration) -> bool {
        let mut suffrage = self.inner.suffrage.subscribe();
        let known = suffrage.wait_for(|suffrage| *suffrage != Suffrage::New);
        let known = tokio::time::timeout(wait, known).await.map(|known| known.is_ok());
        known == Ok(true) && self.votes()
    }

    /// Whether this replica may grant votes now.
    pub(crate) fn votes(&self) -> bool {
        match *self.inner.suffrage.borrow() {
            Suffrage::New => false,
            Suffrage::Refilling { .. } => self.inner.of_two.load(Ordering::Acquire),
            Suffrage::Unproven | Suffrage::Voter => true,
        }
    }

    /// The members with a vote.
    pub(crate) fn voters(&self) -> Arc<BTreeSet<NodeId>> {
        self.inner.status.voters()
    }

    /// On the leader: what a voter is not known to hold of the log. `None` elsewhere, and for a node without a
    /// vote.
    pub fn lag(&self, node: NodeId) -> Option<Lag> {
        let (entries, matched, committed) = {
            let status = self.inner.status.borrow();
            // What its vote has told is not from a voter that takes entries.
            let acked = self.inner.signals.acks.of(node, status.term);
            let has_answered = node == self.me() || acked.is_some();
            let matched = status.replication.get(&node).copied().filter(|_| has_answered);
            (status.lag(node)?, matched, status.committed)
        };
        let bytes = matched.and_then(|matched| match committed.filter(|at| *at > matched) {
            None => Some(0),
            Some(committed) => self.inner.log.upgrade()?.bytes_of(matched + 1..committed + 1).ok(),
        });
        Some(Lag { entries, bytes })
    }

    /// On the leader: what a voter lacks of the log, where that is too much for it to take over.
    pub fn shortfall(&self, node: NodeId) -> Option<Lag> {
        self.lag(node).filter(|lag| !self.is_small(*lag))
    }

    /// On the leader: whether a voter has nearly all of the log, so that it could take over.
    pub fn is_level(&self, node: NodeId) -> bool {
        self.lag(node).is_some_and(|lag| self.is_small(lag))
    }

    fn is_small(&self, lag: Lag) -> bool {
        lag.is_small(self.inner.transport.limits().catch_up_bytes_per_s)
    }

    /// Asks the voters whether this node still leads; the answers are taken in as they come.
    pub(crate) async fn beat(&self) {
        // Fails only where the group has ended, which its status tells.
        let _ = self.raft().trigger().heartbeat().await;
    }

    /// Ends the lease of `leader`, who led `term` and is gone: this replica may vote and stand. `false` where it has
    /// gone on by now.
    pub(crate) async fn disable_lease(&self, leader: Option<NodeId>, term: u64) -> bool {
        disable_lease(self.raft(), &self.inner.signals, leader, term).await
    }

    /// Campaigns now, whoever's turn it is, unless the log here is not complete. The other voters refuse
    /// while they hear a leader. Nothing is retried; watch the status.
    pub async fn elect(&self) {
        self.campaign(None, false).await;
    }

    /// As [`elect`](Self::elect), to succeed whom this replica followed: the voters are not asked once that one is
    /// heard of again. Where `is_wanted`, a majority has said that it would vote for this node, and is asked for
    /// nothing but its votes.
    pub(crate) async fn campaign(&self, succeeds: Option<Followed>, is_wanted: bool) {
        if !self.may_lead() {
            return;
        }
        self.inner.counts.stood();
        let signals = &self.inner.signals;
        *signals.succeeds.lock().unwrap_or_else(PoisonError::into_inner) = succeeds;
        let asks_first = !is_wanted && self.inner.status.voters().len() > 1;
        // An ended group cannot campaign, and its status says that it ended.
        let _ = self.raft().trigger().elect(asks_first).await;
    }

    /// Hands leadership to the voter `to`. Resolves once it leads. From the call on this node takes no
    /// writes; if `to` does not take over soon, whoever can is elected.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError> {
        let not_leading = || RaftError::NotPossible("this node does not lead the group".into());
        let term = self.inner.status.leads().ok_or_else(not_leading)?;
        if !self.voters().contains(&to) {
            return Err(RaftError::NotPossible(format!("node {to} is no voter of the group")));
        }
        if to == self.me() {
            return Ok(());
        }
        // What is remembered of a leadership begins once the node has been told of it.
        let mut role = self.role();
        let told = role.wait_for(|role| role.term > term || role.term == term && role.is_leader);
        let told = tokio::time::timeout(TRANSFER_WAIT, told).await;
        drop(
            told.map_err(|_| RaftError::Timeout(TRANSFER_WAIT))?
                .map_err(|_| RaftError::Shutdown)?,
        );
        if self.leads() != Some(term) {
            return Err(not_leading());
        }
        let handed = self.abdicate_to(to).await;
        self.inner.counts.transferred(handed.is_ok());
        handed
    }

    async fn abdicate_to(&self, to: NodeId) -> Result<(), RaftError> {
        let mut status = self.inner.status.clone();
        self.inner.signals.abdicated.store(true, Ordering::Release);
        self.inner.signals.abdicates.notify_one();
        self.raft().trigger().transfer_leader(to).await.map_err(|fatal| ended(&fatal))?;
        let other = |status: &GroupStatus| status.leader.is_some_and(|leader| leader != self.me());
        let changed = tokio::time::timeout(TRANSFER_WAIT, status.wait_for(other)).await;
        match changed.map_err(|_| RaftError::Timeout(TRANSFER_WAIT))? {
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
            let (mut status, mut retry) = (self.inner.status.clone(), PURGE_RETRY_FIRST);
            loop {
                self.inner.signals.purges.notify_waiters();
                let purged = |status: &GroupStatus| status.purged >= last || status.fault.is_some();
                match tokio::time::timeout(retry, status.wait_for(purged)).await {
                    // The core may not have come to the snapshot, or another stream waits for a peer by now.
                    Err(_) => retry = (retry * 2).min(PURGE_RETRY_LAST),
                    Ok(Ok(status)) if status.fault.is_none() => return Ok(last),
                    Ok(Ok(_)) => return Err(self.fault()),
                    Ok(Err(_)) => return Err(RaftError::Shutdown),
                }
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
        if !self.may_lead() {
            return Ok(());
        }
        let me = self.me();
        let alone = self
            .raft()
            .with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([me]));
        if alone.await.map_err(|fatal| ended(&fatal))? {
            self.inner.counts.stood();
            self.raft().trigger().elect(false).await.map_err(|fatal| ended(&fatal))?;
        }
        Ok(())
    }

    /// Ends the group. On return its ports are no longer used, and its status says that it ended.
    pub(crate) async fn close(&self) -> Result<(), RaftError> {
        self.inner.signals.closing.store(true, Ordering::Release);
        self.raft().shutdown().await.map_err(|error| RaftError::Storage(error.to_string()))?;
        let ended = async {
            let mut role = self.inner.role.clone();
            while role.changed().await.is_ok() {}
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
