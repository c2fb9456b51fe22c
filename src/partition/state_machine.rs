//! What commitment means for a partition: the high watermark moves, producers are remembered, and the
//! log begins later where a command says so.
//!
//! The records themselves are already in the log, so this state machine stores only what purged entries
//! amounted to, in its snapshot. The rest is rebuilt from the log when the partition opens, from the last
//! place on where it was kept beside it ([`super::applied`]).
//!
//! **Invariant:** the high watermark is the end of the last committed batch, and never goes back.
//! **Invariant:** the log start offset never goes back, and never lies above the high watermark.
//! **Invariant:** a snapshot stands at the retained start that the last applied command names, and is
//! the same on every replica.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jackdaw_raft::{Entry, LogId, Payload, Reply, Snapshot, StateMachine, StoredMembership};
use tokio::sync::watch;

use super::applied::KeepWhen;
use super::command::{Command, is_command};
use super::damage::Damage;
use super::lock;
use super::producer_state::ProducerStates;
use super::rebuild::{Rebuilt, membership_at};
use super::retention::PurgeSender;
use super::snapshot::PartitionSnapshot;
use crate::model::Offset;
use crate::model::record_batch::BatchHeader;
use crate::storage::{Committed, EntryId, HistoryItem, Log, LogError};

/// The state machine of one partition's group.
pub(super) struct PartitionMachine {
    log: Log,
    applied: Mutex<(Option<LogId>, StoredMembership)>,
    producers: Arc<Mutex<ProducerStates>>,
    high_watermark: watch::Sender<Offset>,
    /// The first entry to keep: purged is what lies before it.
    first_index: AtomicU64,
    purges: PurgeSender,
    damage: Arc<Damage>,
    snapshot: Mutex<Option<PartitionSnapshot>>,
    keep_when: Mutex<KeepWhen>,
}

/// What one call of `apply` moves.
#[derive(Default)]
struct Moves {
    end: Option<Offset>,
    retain: Option<(u64, Offset)>,
}

impl PartitionMachine {
    /// A machine over `log` that has applied what `rebuilt` says.
    pub(super) fn new(
        log: Log,
        rebuilt: Rebuilt,
        purges: PurgeSender,
        damage: Arc<Damage>,
    ) -> Self {
        Self {
            log,
            applied: Mutex::new((rebuilt.applied, rebuilt.membership)),
            producers: Arc::new(Mutex::new(rebuilt.producers)),
            high_watermark: watch::Sender::new(rebuilt.high_watermark),
            first_index: AtomicU64::new(rebuilt.first_index),
            purges,
            damage,
            snapshot: Mutex::new(rebuilt.snapshot),
            keep_when: Mutex::new(KeepWhen::after(rebuilt.bytes)),
        }
    }

    /// What is known of producers as of the last applied entry.
    pub(super) fn producers(&self) -> Arc<Mutex<ProducerStates>> {
        Arc::clone(&self.producers)
    }

    /// The high watermark, now and as it moves.
    pub(super) fn watch_high_watermark(&self) -> watch::Receiver<Offset> {
        self.high_watermark.subscribe()
    }

    /// The first entry to keep.
    pub(super) fn first_index(&self) -> u64 {
        self.first_index.load(Ordering::Acquire)
    }

    /// How far the log is applied.
    pub(super) fn committed(&self) -> Committed {
        let applied = lock(&self.applied);
        let next_index = applied.0.map_or(0, |applied| applied.index + 1);
        Committed { next_index, high_watermark: *self.high_watermark.borrow() }
    }

    fn apply_data(
        &self,
        log_id: LogId,
        bytes: &[u8],
        producers: &mut ProducerStates,
        moves: &mut Moves,
    ) -> io::Result<Reply> {
        if bytes.is_empty() {
            return Ok(Reply::Void);
        }
        if is_command(bytes) {
            let command = Command::decode(bytes)
                .map_err(|what| io::Error::other(format!("entry {log_id}: {what}")))?;
            return Ok(self.retain(log_id, command, moves));
        }
        let header = BatchHeader::parse(bytes).map_err(io::Error::other)?;
        producers.record(&header);
        moves.end = Some(header.next_offset());
        Ok(Reply::Position(header.base_offset.0 as u64))
    }

    /// Where the log begins after the command at `log_id`; the reply is the start offset then.
    fn retain(&self, log_id: LogId, command: Command, moves: &mut Moves) -> Reply {
        let Command::Retain { first_index, start_offset } = command;
        let high = moves.end.unwrap_or(Offset::ZERO).max(*self.high_watermark.borrow());
        if first_index > log_id.index || start_offset > high {
            tracing::error!(%log_id, ?command, "ignored: it names what is not committed");
            return Reply::Void;
        }
        let (index, start) = moves.retain.unwrap_or_default();
        let (first_index, start) = (index.max(first_index), start.max(start_offset));
        moves.retain = Some((first_index, start));
        Reply::Position(start.max(self.log.start_offset()).0 as u64)
    }

    fn take_over(&self, moves: &Moves) {
        if let Some(end) = moves.end {
            raise(&self.high_watermark, end);
        }
        if let Some((first_index, start)) = moves.retain {
            self.log.raise_start(start);
            if self.first_index.fetch_max(first_index, Ordering::AcqRel) < first_index {
                let identity = self.log.identity();
                // Without a receiver the node is stopping; the next start finds it due.
                let _ = self.purges.send((identity.topic_id, identity.partition));
            }
        }
    }

    /// Keeps what is applied beside the log, if that has not been done lately.
    fn keep_if_due(&self, last: LogId, bytes: u64) {
        let mut when = lock(&self.keep_when);
        if when.note(bytes) {
            when.keep(&self.log, last, self.first_index(), &lock(&self.producers));
        }
    }

    /// Keeps what is applied beside the log: it is about to be closed.
    pub(super) fn keep_applied(&self) {
        let applied = lock(&self.applied);
        let mut when = lock(&self.keep_when);
        if let Some(last) = applied.0.filter(|_| !when.is_up_to_date()) {
            when.keep(&self.log, last, self.first_index(), &lock(&self.producers));
        }
    }

    /// The snapshot at the retained start, if it is newer than the present one.
    fn next_snapshot(&self) -> Result<Option<PartitionSnapshot>, LogError> {
        let wanted = self.first_index();
        let present = lock(&self.snapshot).clone();
        let from = present.as_ref().map_or(0, PartitionSnapshot::next_index);
        let Some(index) = wanted.checked_sub(1).filter(|_| wanted > from) else {
            return Ok(None);
        };
        let outside = || LogError::OutOfRange { index, first: from, last: index };
        let term = self.log.term_of(index).ok_or_else(outside)?;
        let membership = membership_at(&self.log, wanted, present.as_ref())?;
        let mut producers = present.map(|present| present.producers).unwrap_or_default();
        for item in self.log.history(from..wanted) {
            if let HistoryItem::Batch(header) = item? {
                producers.record(&header);
            }
        }
        let start_offset = self.log.offset_of(wanted)?;
        let last = LogId { term, index };
        Ok(Some(PartitionSnapshot { last, start_offset, membership, producers }))
    }

    /// Keeps a snapshot, unless a newer one was installed while it was made.
    fn keep(&self, snapshot: PartitionSnapshot) -> Result<(), LogError> {
        let mut present = lock(&self.snapshot);
        if present.as_ref().is_none_or(|present| present.last < snapshot.last) {
            self.log.write_snapshot(&snapshot.encode(self.log.identity()))?;
            *present = Some(snapshot);
        }
        Ok(())
    }

    /// Begins anew behind `snapshot`.
    fn install(&self, snapshot: &PartitionSnapshot) -> Result<(), LogError> {
        let LogId { term, index } = snapshot.last;
        let mut applied = lock(&self.applied);
        let mut producers = lock(&self.producers);
        self.keep(snapshot.clone())?;
        // A log that holds the snapshot's last entry keeps what is behind it.
        if self.log.term_of(index) != Some(term) {
            self.log.reset(EntryId { term, index }, snapshot.start_offset)?;
        }
        *applied = (Some(snapshot.last), snapshot.membership.clone());
        *producers = snapshot.producers.clone();
        raise(&self.high_watermark, snapshot.start_offset);
        self.first_index.fetch_max(snapshot.next_index(), Ordering::AcqRel);
        Ok(())
    }

    fn present(&self) -> Option<Snapshot> {
        lock(&self.snapshot).as_ref().map(|snapshot| snapshot.to_raft(self.log.identity()))
    }
}

fn raise<T: Copy + Ord>(value: &watch::Sender<T>, to: T) {
    value.send_if_modified(|value| {
        let moves = to > *value;
        *value = (*value).max(to);
        moves
    });
}

impl StateMachine for PartitionMachine {
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok(lock(&self.applied).clone())
    }

    fn apply(&self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(entries.len());
        let (mut moves, mut bytes) = (Moves::default(), 0);
        let mut applied = lock(&self.applied);
        let mut producers = lock(&self.producers);
        for Entry { log_id, payload } in entries {
            replies.push(match payload {
                Payload::Blank => Reply::None,
                Payload::Membership(membership) => {
                    applied.1 = StoredMembership { log_id: Some(log_id), membership };
                    Reply::None
                }
                Payload::Data(data) => {
                    bytes += data.bytes.len() as u64;
                    self.apply_data(log_id, &data.bytes, &mut producers, &mut moves)?
                }
            });
            applied.0 = Some(log_id);
        }
        drop(producers);
        self.take_over(&moves);
        if let Some(last) = applied.0 {
            self.keep_if_due(last, bytes);
        }
        drop(applied);
        Ok(replies)
    }

    /// Fails never: entries that cannot be condensed, or a full disk, only put the purge off.
    fn build_snapshot(&self) -> io::Result<Snapshot> {
        let built = self.damage.check(self.next_snapshot()).and_then(|next| match next {
            Some(snapshot) => self.keep(snapshot),
            None => Ok(()),
        });
        if let Err(error) = built {
            tracing::error!(dir = %self.log.dir().display(), %error, "old records stay: the entries \
                 before the retained ones cannot be condensed");
        }
        let nothing = || Snapshot {
            last: None,
            membership: StoredMembership::default(),
            id: "none".to_owned(),
            bytes: bytes::Bytes::new(),
        };
        Ok(self.present().unwrap_or_else(nothing))
    }

    fn install_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        let snapshot = PartitionSnapshot::decode(&snapshot.bytes, self.log.identity())
            .map_err(io::Error::other)?;
        // An attempt that fails leaves what a crash would: the next one goes on from there.
        self.log.patiently(|_| self.install(&snapshot))?;
        tracing::info!(
            dir = %self.log.dir().display(),
            start_offset = %snapshot.start_offset,
            "the log begins anew behind the leader's snapshot"
        );
        Ok(())
    }

    fn current_snapshot(&self) -> io::Result<Option<Snapshot>> {
        Ok(self.present())
    }
}
