//! Logs that end before entries which were committed and on this node's disk.
//!
//! Behind its recovery point a log cannot tell a write that was never confirmed from one that was lost since.
//! What is remembered beside the votes can: up to where the log was on the disk, of what was committed. A
//! log that ends before that is damaged, and got back from the other nodes.
//!
//! The only replica of a partition has nowhere to get it from, and does not run. It may be that nothing is
//! wrong: the folder was restored from an older copy. So an operator can say that it is to go on.
//!
//! **Invariant:** what is missing is accepted by nobody but an operator, for one log at a time, and only where
//! no other node has it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jackdaw_raft::{GroupId, LogId};

use super::hard_states::{HardStates, OnDisk};
use crate::metadata::MetadataLog;
use crate::model::{PartitionIndex, TopicId};
use crate::partition::PartitionSet;
use crate::storage::{Disk as _, LogError, SystemDisk};

/// An operator makes this file in the folder of a log to say that it may go on without what is missing.
const ACCEPT: &str = "accept-loss";

/// Looks up in the running logs what of them is on the disk.
pub(super) fn on_disk(partitions: &Arc<PartitionSet>, metadata: &Arc<MetadataLog>) -> Arc<OnDisk> {
    let (partitions, metadata) = (Arc::clone(partitions), Arc::clone(metadata));
    Arc::new(move |group: GroupId, committed: LogId| {
        if group == GroupId::METADATA {
            return metadata.durable_upto(committed.index);
        }
        let index = PartitionIndex(i32::try_from(group.partition).ok()?);
        let partition = partitions.get(TopicId(group.topic), index)?;
        let entry = partition.log().durable_upto(committed.index)?;
        Some(LogId { term: entry.term, index: entry.index })
    })
}

/// Does what an operator said about the log in `dir`, of which no other node has a replica: where the log
/// ends counts from here on. Blocks.
pub(super) fn accept_loss(dir: &Path, group: GroupId, hard_states: &HardStates) -> Result<()> {
    let word = dir.join(ACCEPT);
    if !word.exists() {
        return Ok(());
    }
    tracing::warn!(dir = %dir.display(), "goes on without what may be missing: {ACCEPT} says so");
    hard_states.forget_position(group)?;
    // Only now: whoever is killed in between accepts it again.
    let disk = &SystemDisk;
    let taken = disk.remove(&word).and_then(|()| disk.sync_dir(dir));
    taken.with_context(|| format!("{} cannot be removed", word.display()))
}

/// What is to be done about the log in `dir`, of which no other node has a replica; `restore` says what can be
/// restored.
pub(super) fn advice(error: &LogError, dir: &Path, restore: String) -> String {
    match error {
        // There is nothing left to go on with.
        LogError::Short { missing_index, .. } if *missing_index > 0 => format!(
            "{restore}; or, to go on without the missing entries, make an empty file {} and start the \
             node again",
            dir.join(ACCEPT).display()
        ),
        _ => restore,
    }
}
