//! Which of a leader's entries a replica takes on a disk that has no room for replication.
//!
//! | entries | taken |
//! |---|---|
//! | that are there already, or without records | always: a command frees space, and a leader is one only after its first entry |
//! | with new records | what goes into room that the log has taken already, one request at a time |
//!
//! The latter since the command that frees space lies behind what a leader had taken when the disks
//! filled up.
//!
//! **Invariant:** nothing that is taken waits in the log for space, which only a later command may free.

use jackdaw_raft::{Entry, Incoming, Payload};

use super::command::is_command;
use super::set::PartitionSet;
use crate::model::{PartitionIndex, TopicId};

/// Whether `incoming`, entries of one of `partitions`, can be appended on a full disk.
#[must_use]
pub fn fits_full_disk(partitions: &PartitionSet, incoming: Incoming<'_>) -> bool {
    let Incoming { group, entries, is_behind_others } = incoming;
    let Ok(index) = i32::try_from(group.partition) else { return false };
    let Some(partition) = partitions.get(TopicId(group.topic), PartitionIndex(index)) else {
        return false;
    };
    let log = partition.log();
    // A new leader looks for where a log ends by sending what may be there.
    let is_there = |entry: &&Entry| log.term_of(entry.log_id.index) == Some(entry.log_id.term);
    let new = &entries[entries.iter().take_while(is_there).count()..];
    let bytes = new.iter().map(body_bytes).sum();
    !new.iter().any(holds_records) || !is_behind_others && log.has_taken_room(new.len(), bytes)
}

fn holds_records(entry: &Entry) -> bool {
    match &entry.payload {
        Payload::Blank | Payload::Membership(_) => false,
        Payload::Data(data) => !data.bytes.is_empty() && !is_command(&data.bytes),
    }
}

fn body_bytes(entry: &Entry) -> u64 {
    match &entry.payload {
        Payload::Blank => 0,
        Payload::Membership(membership) => membership.to_bytes().len() as u64,
        Payload::Data(data) => data.bytes.len() as u64,
    }
}
