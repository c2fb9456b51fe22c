//! Where a partition's log begins: by its topic's limits, or because a client deleted records.
//!
//! ```text
//! limits, DeleteRecords ─► leader: Retain command ─► committed ─► every replica: start offset
//!                                                        └─► purge queue ─► snapshot at R ─► purge to R
//! ```
//! **Invariant:** only the leader decides, and only over what is committed; all replicas follow by the
//! log.
//! **Invariant:** a deletion is answered after its command is committed.

use std::sync::PoisonError;

use jackdaw_raft::{Data, RaftError, Reply};
use tokio::sync::mpsc;

use super::command::Command;
use super::error::PartitionError;
use super::replica::Partition;
use super::sequencer::refusal;
use crate::model::{Offset, PartitionIndex, Timestamp, TopicId};
use crate::storage::{RetainFrom, RetentionLimits};

/// How long a topic's records are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Whether old segments are deleted at all (`cleanup.policy` contains `delete`).
    pub delete: bool,
    /// By what limits.
    pub limits: RetentionLimits,
}

/// Names a partition that has something to purge.
pub type PurgeKey = (TopicId, PartitionIndex);

/// Where partitions announce themselves once they have something to purge; see [`Partition::purge`].
pub type PurgeSender = mpsc::UnboundedSender<PurgeKey>;

impl Partition {
    /// How long records are kept now.
    #[must_use]
    pub fn retention(&self) -> RetentionPolicy {
        *self.retention.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new policy over after the topic's configs changed.
    pub fn set_retention(&self, policy: RetentionPolicy) {
        *self.retention.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// Where the log is to begin by its topic's limits; `None` if it may stay as it is, or if this node
    /// does not lead. May read from the disk.
    ///
    /// # Errors
    /// [`PartitionError::Storage`].
    pub fn expired(&self, now: Timestamp) -> Result<Option<RetainFrom>, PartitionError> {
        if self.check_leader(-1).is_err() {
            return Ok(None);
        }
        let policy = self.retention();
        let limits = if policy.delete { policy.limits } else { RetentionLimits::default() };
        Ok(self.damage.check(self.log().retain_from(limits, now, self.machine.committed()))?)
    }

    /// Makes the log of every replica begin there; the log start offset then. `from` names only what is
    /// committed.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`]; [`PartitionError::Uncertain`] if it may happen yet.
    pub async fn retain(&self, from: RetainFrom) -> Result<Offset, PartitionError> {
        let RetainFrom { first_index, start_offset } = from;
        let command = Command::Retain { first_index, start_offset }.encode();
        let proposed = self.group().propose(vec![Data::new(command)]).await;
        let receiver = proposed.map_err(|error| refusal(&error))?.pop();
        let Some(receiver) = receiver else { return Err(PartitionError::Uncertain) };
        match receiver.await {
            Ok(Ok(applied)) => match applied.reply {
                Reply::Position(start) => Ok(Offset(start as i64)),
                _ => Err(PartitionError::NotLeader),
            },
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(PartitionError::Uncertain),
        }
    }

    /// Deletes the records below `before`, all that are committed for `None`; the log start offset then.
    ///
    /// # Errors
    /// As [`Partition::check_leader`] and [`Partition::retain`]; [`PartitionError::OffsetOutOfRange`]
    /// above the high watermark.
    pub async fn delete_records(&self, before: Option<Offset>) -> Result<Offset, PartitionError> {
        self.check_leader(-1)?;
        let committed = self.machine.committed();
        let (start, end) = (self.log().start_offset(), committed.high_watermark);
        let asked = before.unwrap_or(end);
        if asked < Offset::ZERO || asked > end {
            return Err(PartitionError::OffsetOutOfRange { asked, start, end });
        }
        if asked <= start {
            // It is so already, but only a leader of now may say so.
            self.group().read_barrier().await.map_err(|error| refusal(&error))?;
            return Ok(start);
        }
        let first_index = self.log().first_index_for(asked, committed);
        self.retain(RetainFrom { first_index, start_offset: asked }).await
    }

    /// Whether applied commands have left something to purge.
    #[must_use]
    pub fn purge_due(&self) -> bool {
        self.machine.first_index() > self.log().first_index()
    }

    /// Purges what applied commands do not retain. Waits for replication that still reads it.
    ///
    /// # Errors
    /// The group has ended, or replication took too long; what is left is purged another time.
    pub async fn purge(&self) -> Result<(), RaftError> {
        while self.purge_due() {
            let before = self.log().first_index();
            self.group().snapshot().await?;
            if self.log().first_index() == before {
                break;
            }
        }
        Ok(())
    }
}
