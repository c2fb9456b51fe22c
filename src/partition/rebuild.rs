//! A replica's state as its disk has it: the snapshot, and what the log says after it.
//!
//! ```text
//! snapshot at R ─► state kept at an applied entry, if there is one
//!                       ─► entries behind it, up to the last one known to be committed ─► state
//! ```
//! **Invariant:** what is known of producers does not depend on what was purged.

use jackdaw_raft::{LogId, Membership, StoredMembership};

use super::applied::AppliedState;
use super::command::Command;
use super::producer_state::ProducerStates;
use super::snapshot::PartitionSnapshot;
use crate::model::Offset;
use crate::storage::{EntryBody, EntryId, HistoryItem, Log, LogError};

/// What opening a replica finds.
pub struct Rebuilt {
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) producers: ProducerStates,
    pub(super) high_watermark: Offset,
    pub(super) snapshot: Option<PartitionSnapshot>,
    /// The first entry to keep, as the last applied command has it.
    pub(super) first_index: u64,
    /// Bytes of the entries that were gone over.
    pub(super) bytes: u64,
}

impl Rebuilt {
    /// Finishes what a crash interrupted, then reads the log's headers from the state that was kept up to
    /// the entry that was known to be committed. Raises the log's start offset. Blocks.
    ///
    /// # Errors
    /// The log or its snapshot cannot be read, or is damaged.
    pub fn from_log(log: &Log, committed: Option<LogId>) -> Result<Self, LogError> {
        let snapshot = load_snapshot(log)?;
        if let Some(snapshot) = &snapshot {
            settle(log, snapshot)?;
        }
        // The checkpoint may be ahead of what this disk kept of the log, and behind the snapshot.
        let last = log.last().map(|id| LogId { term: id.term, index: id.index });
        let condensed = snapshot.as_ref().map(|snapshot| snapshot.last);
        let kept = AppliedState::load(log).filter(|kept| Some(kept.last) > condensed);
        let known = kept.as_ref().map(|kept| kept.last).or(condensed);
        let applied = committed.min(last).max(known);
        let next = applied.map_or(0, |applied| applied.index + 1);
        let from = kept.as_ref().map_or(log.first_index(), |kept| kept.last.index + 1);
        let mut start = log.start_offset();
        let mut first_index = log.first_index();
        let producers = match kept {
            Some(kept) => {
                start = start.max(kept.start_offset);
                first_index = first_index.max(kept.first_index);
                kept.producers
            }
            None => snapshot.as_ref().map(|s| s.producers.clone()).unwrap_or_default(),
        };
        let mut rebuilt = Self {
            applied,
            membership: membership_at(log, next, snapshot.as_ref())?,
            producers,
            high_watermark: log.offset_of(next)?,
            first_index,
            snapshot,
            bytes: 0,
        };
        for item in log.history(from..next) {
            match item? {
                HistoryItem::Batch(header) => {
                    rebuilt.bytes += header.size_bytes() as u64;
                    rebuilt.producers.record(&header);
                }
                HistoryItem::Command(index) => {
                    let Command::Retain { first_index, start_offset } = read_command(log, index)?;
                    rebuilt.first_index = rebuilt.first_index.max(first_index);
                    start = start.max(start_offset);
                }
            }
        }
        log.raise_start(start.min(rebuilt.high_watermark));
        Ok(rebuilt)
    }
}

fn load_snapshot(log: &Log) -> Result<Option<PartitionSnapshot>, LogError> {
    let corrupt = |what| LogError::Corrupt { path: log.dir().join("snapshot"), position: 0, what };
    let snapshot = match log.read_snapshot()? {
        None => None,
        Some(bytes) => Some(PartitionSnapshot::decode(&bytes, log.identity()).map_err(corrupt)?),
    };
    let reaches = snapshot.as_ref().map(|snapshot| snapshot.last.index);
    match log.purged() {
        Some(purged) if reaches < Some(purged.index) => {
            Err(corrupt(format!("nothing says what the entries up to {purged} amounted to")))
        }
        _ => Ok(snapshot),
    }
}

/// Makes the log begin behind the snapshot: a crash came between the two.
fn settle(log: &Log, snapshot: &PartitionSnapshot) -> Result<(), LogError> {
    let LogId { term, index } = snapshot.last;
    if log.term_of(index) == Some(term) {
        return log.purge(index);
    }
    log.reset(EntryId { term, index }, snapshot.start_offset)
}

/// The newest membership among the entries before `next`.
pub(super) fn membership_at(
    log: &Log,
    next: u64,
    snapshot: Option<&PartitionSnapshot>,
) -> Result<StoredMembership, LogError> {
    let found = match next.checked_sub(1) {
        Some(upto) => log.last_membership(upto)?,
        None => None,
    };
    let Some((entry, bytes)) = found.and_then(|entry| match &entry.body {
        EntryBody::Membership(bytes) => Some((entry.id, bytes.clone())),
        _ => None,
    }) else {
        return Ok(snapshot.map(|snapshot| snapshot.membership.clone()).unwrap_or_default());
    };
    let membership = Membership::from_bytes(bytes)
        .map_err(|error| LogError::Unstorable { index: entry.index, what: error.to_string() })?;
    let log_id = Some(LogId { term: entry.term, index: entry.index });
    Ok(StoredMembership { log_id, membership })
}

fn read_command(log: &Log, index: u64) -> Result<Command, LogError> {
    let entry = log.read_entries(index..index + 1, 0)?.pop();
    let Some(EntryBody::Command(bytes)) = entry.map(|entry| entry.body) else {
        return Err(LogError::Unstorable { index, what: "a command that is not there".into() });
    };
    Command::decode(&bytes).map_err(|what| LogError::Unstorable { index, what })
}
