//! A running replica: what handlers ask of it.
//!
//! **Invariant:** reads, offsets and appends are answered only while this node leads the partition
//! and has committed an entry of its own epoch; anything else is an error code.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use jackdaw_raft::{Group, GroupId, NodeId, RaftNode, Role};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::damage::Damage;
use super::error::{OpenError, PartitionError};
use super::limits::RecordLimits;
use super::raft_log::PartitionLog;
use super::rebuild::Rebuilt;
use super::retention::{PurgeSender, RetentionPolicy};
use super::sequencer::{Answer, Sequencer, Submission};
use super::state_machine::PartitionMachine;
use crate::model::mutant;
use crate::model::record_batch::BatchHeader;
use crate::model::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};
use crate::storage::{CompactionLimits, FileSlice, Log, LogError};

/// Longest wait for a new leader's first entry, where somebody waits. With disks that answer and a follower that is
/// level it takes a fraction of that.
pub const READY_WAIT: Duration = Duration::from_millis(400);

/// What an append waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// `acks=0`: nothing.
    None,
    /// `acks=1`: the leader's own disk.
    Leader,
    /// `acks=all`: the disks of a majority.
    All,
}

/// Resolves to the base offset of an append once it is as durable as was asked for.
pub struct AppendHandle(oneshot::Receiver<Answer>);

impl AppendHandle {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// [`PartitionError`]; [`PartitionError::Uncertain`] if the records may or may not be there.
    pub async fn wait(self) -> Answer {
        // A dropped sender: the partition was closed, or leadership was lost before the local sync.
        self.0.await.unwrap_or(Err(PartitionError::Uncertain))
    }
}

/// What one fetch gets from one partition.
#[derive(Debug)]
pub struct Read {
    /// Whole record batches, in wire format.
    pub slices: Vec<FileSlice>,
    /// The high watermark at the time of the read.
    pub high_watermark: Offset,
    /// The log start offset.
    pub start: Offset,
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampQuery {
    /// The high watermark.
    Latest,
    /// The log start offset.
    Earliest,
    /// The record with the largest timestamp (KIP-734).
    Max,
    /// The first record at or after a time.
    At(Timestamp),
}

/// A record found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, −1 for the ends of the log.
    pub timestamp: Timestamp,
    /// Its leader epoch.
    pub epoch: LeaderEpoch,
}

/// What it takes to open a partition.
pub struct OpenPartition<'a> {
    /// Its name.
    pub name: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// Its Raft group's id.
    pub group: GroupId,
    /// Its opened log.
    pub log: Log,
    /// What may be produced to it.
    pub limits: RecordLimits,
    /// How long its records are kept.
    pub retention: RetentionPolicy,
    /// How its log is compacted, if it is.
    pub compaction: Option<CompactionLimits>,
    /// Told whenever there is something to purge.
    pub purges: PurgeSender,
    /// Woken when the log turns out to be damaged; see [`Partition::damage`].
    pub damaged: Arc<Notify>,
    /// The state that the log was found in.
    pub rebuilt: Rebuilt,
    /// The node that the group runs on.
    pub node: &'a RaftNode,
    /// The nodes that hold a replica, this one among them: the group's members while it is new.
    pub voters: BTreeSet<NodeId>,
    /// The node that stands first for election where nobody leads.
    pub preferred: Option<NodeId>,
}

/// One replica of one partition.
pub struct Partition {
    name: TopicPartition,
    topic_id: TopicId,
    group_id: GroupId,
    log: Log,
    group: Group,
    pub(super) node: RaftNode,
    role: watch::Receiver<Role>,
    queue: mpsc::UnboundedSender<Submission>,
    high_watermark: watch::Receiver<Offset>,
    limits: RwLock<RecordLimits>,
    pub(super) retention: RwLock<RetentionPolicy>,
    pub(super) compaction: RwLock<Option<CompactionLimits>>,
    pub(super) machine: Arc<PartitionMachine>,
    pub(super) damage: Arc<Damage>,
    sequencer: JoinHandle<()>,
}

impl Partition {
    /// Joins the partition's Raft group, a new one as one of its
    /// founders.
    ///
    /// # Errors
    /// Raft cannot read the log, or cannot start the group.
    pub async fn open(open: OpenPartition<'_>) -> Result<Arc<Self>, OpenError> {
        let OpenPartition { name, topic_id, group: group_id, log, rebuilt, limits, .. } = open;
        let damage = Arc::new(Damage::new(open.damaged));
        log.watch_reads(damage.clone());
        let machine = PartitionMachine::new(log.clone(), rebuilt, open.purges, damage.clone());
        let machine = Arc::new(machine);
        let port = Arc::new(PartitionLog::new(log.clone(), machine.clone(), damage.clone()));
        let node = open.node;
        node.found_group(group_id, &*port, open.voters).await?;
        let opened = node.open_group(group_id, port, machine.clone(), open.preferred).await;
        let group = match opened {
            Ok(group) => group,
            Err(error) => return Err(damage.found().map_or(error.into(), OpenError::Damaged)),
        };
        let (queue, submissions) = mpsc::unbounded_channel();
        let producers = machine.producers();
        let sequencer = Sequencer::new(submissions, group.clone(), log.clone(), producers);
        Ok(Arc::new(Self {
            name,
            topic_id,
            group_id,
            role: group.role(),
            log,
            group,
            node: node.clone(),
            queue,
            high_watermark: machine.watch_high_watermark(),
            limits: RwLock::new(limits),
            retention: RwLock::new(open.retention),
            compaction: RwLock::new(open.compaction),
            machine,
            damage,
            sequencer: tokio::spawn(sequencer.run()),
        }))
    }

    /// Topic and index.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The Raft group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What may be produced now.
    #[must_use]
    pub fn limits(&self) -> RecordLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes new limits over after the topic's configs changed.
    pub fn set_limits(&self, limits: RecordLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Checks that the disk has room for records.
    ///
    /// # Errors
    /// [`PartitionError::Full`].
    pub fn check_room(&self) -> Result<(), PartitionError> {
        if self.log.has_room() { Ok(()) } else { Err(PartitionError::Full) }
    }

    /// Queues one validated batch for append, behind those queued before it.
    pub fn append(&self, batch: Bytes, header: BatchHeader, acks: Acks) -> AppendHandle {
        let (answer, outcome) = oneshot::channel();
        let on_local_sync = acks == Acks::Leader;
        // A closed queue drops the submission, and with it the sender: the handle reports it.
        drop(self.queue.send(Submission { batch, header, on_local_sync, answer }));
        AppendHandle(outcome)
    }

    /// Checks that this node leads and that the client's epoch is the leader's; returns the epoch.
    ///
    /// `known` is the client's `current_leader_epoch`, −1 to skip the check (KIP-320).
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`], [`PartitionError::FencedEpoch`],
    /// [`PartitionError::UnknownEpoch`] or [`PartitionError::NotReady`].
    pub fn check_leader(&self, known: i32) -> Result<LeaderEpoch, PartitionError> {
        let role = *self.role.borrow();
        let current = role.term as i32;
        if known >= 0 && known < current {
            return Err(PartitionError::FencedEpoch { current });
        }
        if known > current {
            return Err(PartitionError::UnknownEpoch { current });
        }
        // One that lost sight of the majority may have been deposed without knowing.
        // Not after: it may become ready, and be new no longer, between the two looks.
        let is_new = !role.ready && self.is_new();
        if !role.is_leader || !self.group.is_confirmed() {
            return Err(if is_new { PartitionError::NotReady } else { PartitionError::NotLeader });
        }
        if !role.ready && !mutant::is_on("new-leader-serves-at-once") {
            return Err(PartitionError::NotReady);
        }
        Ok(LeaderEpoch(current))
    }

    /// Whether this node was elected a moment ago and is about to be ready, as a rule.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.group.is_new()
    }

    /// Waits, for a moment at most, where this node [was just elected](Self::is_new); [`Self::check_leader`] then
    /// says what holds.
    pub async fn until_ready(&self) {
        if !self.is_new() {
            return;
        }
        let mut role = self.role.clone();
        let soon = role.wait_for(|role| role.ready || !role.is_leader);
        drop(tokio::time::timeout(READY_WAIT, soon).await);
    }

    /// Whole batches from the one that holds `from`, below the high watermark; `max_bytes` may be
    /// exceeded by the first batch alone, and only if `min_one`.
    ///
    /// # Errors
    /// As [`Self::check_leader`], or [`PartitionError::OffsetOutOfRange`].
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        min_one: bool,
        known_epoch: i32,
    ) -> Result<Read, PartitionError> {
        self.check_leader(known_epoch)?;
        let high_watermark = match mutant::is_on("uncommitted-served") {
            true => self.log.end_offset(),
            false => self.high_watermark(),
        };
        let start = self.log.start_offset();
        let end = self.log.end_offset();
        if from < start || from > end {
            return Err(PartitionError::OffsetOutOfRange { asked: from, start, end });
        }
        let slices = if from < high_watermark && (max_bytes > 0 || min_one) {
            self.damage.check(self.log.slices(from, high_watermark, max_bytes, min_one))?
        } else {
            Vec::new()
        };
        Ok(Read { slices, high_watermark, start })
    }

    /// The offset after the last committed record.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        *self.high_watermark.borrow()
    }

    /// Wakes when the high watermark moves.
    #[must_use]
    pub fn watch_high_watermark(&self) -> watch::Receiver<Offset> {
        self.high_watermark.clone()
    }

    /// Wakes when the group's leadership changes.
    #[must_use]
    pub fn watch_role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Offset and leader epoch for `OffsetForLeaderEpoch` (KIP-101, KIP-279): the end of the
    /// largest epoch ≤ `epoch`, if there is one.
    #[must_use]
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.log.epoch_end_offset(epoch, self.high_watermark())
    }

    /// The node that leads as far as this replica knows, with the epoch.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, LeaderEpoch)> {
        let leadership = self.node.leader_of(self.group_id)?;
        Some((leadership.leader, LeaderEpoch(leadership.term as i32)))
    }

    /// Leaves the group and closes the log with a clean-shutdown marker. Whether nothing uses the
    /// log's folder any more.
    pub async fn close(&self) -> bool {
        self.log.stop_waiting();
        let left = self.node.close_group(self.group_id).await;
        if let Err(error) = &left {
            tracing::warn!(partition = %self.name, %error, "closing the Raft group failed");
        }
        self.sequencer.abort();
        self.machine.keep_applied();
        if let Err(error) = self.log.close() {
            tracing::warn!(partition = %self.name, %error, "closing the log failed");
        }
        left.is_ok()
    }
}

impl From<LogError> for PartitionError {
    fn from(error: LogError) -> Self {
        Self::Storage(error.to_string())
    }
}
