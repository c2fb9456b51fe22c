//! What commitment means for a partition: the high watermark moves and producers are remembered.
//!
//! The records themselves are already in the log, so this state machine stores nothing: it is
//! rebuilt from the log's batch headers when the partition opens.
//!
//! **Invariant:** the high watermark is the end of the last committed batch, and never goes back.

use std::io;
use std::sync::{Arc, Mutex};

use jackdaw_raft::{Entry, LogId, Payload, Reply, Snapshot, StateMachine, StoredMembership};
use tokio::sync::watch;

use super::lock;
use super::producer_state::ProducerStates;
use crate::model::Offset;
use crate::model::record_batch::BatchHeader;

/// The state machine of one partition's group.
pub(super) struct PartitionMachine {
    applied: Mutex<(Option<LogId>, StoredMembership)>,
    producers: Arc<Mutex<ProducerStates>>,
    high_watermark: watch::Sender<Offset>,
}

impl PartitionMachine {
    /// A machine that has applied the log up to `applied`, as rebuilt when the partition opened.
    pub(super) fn new(
        applied: Option<LogId>,
        membership: StoredMembership,
        producers: Arc<Mutex<ProducerStates>>,
        high_watermark: watch::Sender<Offset>,
    ) -> Self {
        Self { applied: Mutex::new((applied, membership)), producers, high_watermark }
    }
}

impl StateMachine for PartitionMachine {
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok(lock(&self.applied).clone())
    }

    fn apply(&self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(entries.len());
        let mut end = None;
        let mut applied = lock(&self.applied);
        let mut producers = lock(&self.producers);
        for entry in entries {
            applied.0 = Some(entry.log_id);
            replies.push(match entry.payload {
                Payload::Blank => Reply::None,
                Payload::Membership(membership) => {
                    applied.1 = StoredMembership { log_id: Some(entry.log_id), membership };
                    Reply::None
                }
                Payload::Data(data) if data.bytes.is_empty() => Reply::Void,
                Payload::Data(data) => {
                    let header = BatchHeader::parse(&data.bytes).map_err(io::Error::other)?;
                    producers.record(&header);
                    end = Some(header.next_offset());
                    Reply::Position(header.base_offset.0 as u64)
                }
            });
        }
        drop(producers);
        drop(applied);
        if let Some(end) = end {
            self.high_watermark.send_if_modified(|high| {
                let moves = end > *high;
                *high = (*high).max(end);
                moves
            });
        }
        Ok(replies)
    }

    // A snapshot stands for entries that are no longer in the log. Partition logs are not purged
    // (see the limits in the README), so a replica is always brought up to date from the log.
    fn build_snapshot(&self) -> io::Result<Snapshot> {
        Err(io::Error::other("a partition whose log is whole has no snapshot"))
    }

    fn install_snapshot(&self, _snapshot: Snapshot) -> io::Result<()> {
        Err(io::Error::other("a partition whose log is whole takes no snapshot"))
    }

    fn current_snapshot(&self) -> io::Result<Option<Snapshot>> {
        Ok(None)
    }
}
