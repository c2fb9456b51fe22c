//! The port from a partition's Raft group to its segments.
//!
//! Raft entries and log entries are the same thing here: one data entry is one record batch. On the
//! leader each batch comes with the term and the base offset that the sequencer expects for it; one
//! that would land elsewhere is written as a void entry, which keeps its Raft index and holds no record. The
//! followers replicate what the leader wrote, so all replicas void the same entries.
//!
//! **Invariant:** an empty payload stands for a void entry, in memory and between nodes; one with a
//! command's marker that no producer sent stands for a command.
//! **Invariant:** `flushed` fires once the entries count by the log's flush policy: after the sync that
//! covers them, unless the topic is relaxed.

use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jackdaw_raft::{Data, Entry, Flushed, LogId, LogPort, LogState, Membership, Payload, blocking};

use super::command::{Command, is_command};
use super::damage::Damage;
use super::early_answer::EarlyAnswer;
use super::error::PartitionError;
use super::sequencer::AppendContext;
use super::state_machine::PartitionMachine;
use crate::model::Offset;
use crate::model::mutant;
use crate::model::record_batch::BatchHeader;
use crate::storage::{EntryBody, EntryId, Log, LogEntry, LogError, SyncDone};

/// The log port of one partition.
pub(super) struct PartitionLog {
    log: Log,
    machine: Arc<PartitionMachine>,
    damage: Arc<Damage>,
    /// It holds entries of a process before this one.
    is_reopened: bool,
}

/// A producer to answer once this node has what it sent.
struct LocalAnswer {
    index: u64,
    base: Offset,
    early: Arc<EarlyAnswer>,
}

impl PartitionLog {
    /// The port to `log`, which `machine` applies; it notes in `damage` what it finds damaged.
    pub(super) fn new(log: Log, machine: Arc<PartitionMachine>, damage: Arc<Damage>) -> Self {
        let is_reopened = log.last().is_some();
        Self { log, machine, damage, is_reopened }
    }

    /// Appends entries of which only the first may be a command. Where the disk has no space for records that
    /// were sent to this node, they become void: the command that frees space may wait behind them.
    /// Whether they did.
    fn append_run(&self, entries: &mut [LogEntry]) -> io::Result<bool> {
        let first = entries.first();
        let is_command = first.is_some_and(begins_segment);
        if let Some(LogEntry { body: EntryBody::Command(bytes), .. }) = first
            && let Ok(Command::Retain { first_index, .. }) = Command::decode(bytes)
        {
            match self.log.seal_below(first_index) {
                // The segment then goes with a later one.
                Err(error) if error.may_pass() => {
                    tracing::warn!(%error, "a segment that could be purged is not closed");
                }
                sealed => sealed?,
            }
        }
        let mut appended = if is_command {
            self.log.append_to_free(entries)
        } else if entries.iter().any(holds_records) {
            self.log.append(entries)
        } else {
            self.log.append_to_go_on(entries)
        };
        let is_voided = appended.as_ref().is_err_and(LogError::may_pass) && void_produced(entries);
        if is_voided {
            appended = self.log.append_to_go_on(entries);
        }
        match appended {
            Err(error) if error.may_pass() => self.log.patiently(|log| log.append(entries))?,
            outcome => outcome?,
        };
        Ok(is_voided)
    }

    /// What to write for one data entry, given where the log ends before it.
    fn data_body(
        data: Data,
        LogId { term, index }: LogId,
        end: &mut Offset,
        answers: &mut Vec<LocalAnswer>,
    ) -> EntryBody {
        if data.bytes.is_empty() {
            return EntryBody::Void;
        }
        if let Some(context) = append_context(data.context.as_ref()) {
            if context.expected != *end || context.term != term {
                if let Some(early) = &context.early {
                    early.give(Err(PartitionError::NotLeader));
                }
                return EntryBody::Void;
            }
            let early = context.early.clone();
            answers.extend(early.map(|early| LocalAnswer { index, base: *end, early }));
        } else if is_command(&data.bytes) {
            return EntryBody::Command(data.bytes);
        }
        // Batches were validated by the produce handler, or by the leader that sent them.
        if let Ok(header) = BatchHeader::parse(&data.bytes) {
            *end = end.advance(i64::from(header.last_offset_delta) + 1);
        }
        if data.context.is_some() {
            EntryBody::Produced(data.bytes)
        } else {
            EntryBody::Batch(data.bytes)
        }
    }
}

/// Whether an entry is better the first of a segment: what a command retains from is to be purged
/// without what comes after it.
fn begins_segment(entry: &LogEntry) -> bool {
    matches!(entry.body, EntryBody::Command(_))
}

/// Makes void what producers have sent to this node; whether there was any.
fn void_produced(entries: &mut [LogEntry]) -> bool {
    let mut any = false;
    for entry in entries {
        if matches!(entry.body, EntryBody::Produced(_)) {
            (entry.body, any) = (EntryBody::Void, true);
        }
    }
    any
}

fn holds_records(entry: &LogEntry) -> bool {
    matches!(entry.body, EntryBody::Batch(_) | EntryBody::Produced(_))
}

fn append_context(context: Option<&Arc<dyn Any + Send + Sync>>) -> Option<&AppendContext> {
    context.and_then(|context| context.downcast_ref())
}

fn log_id(id: EntryId) -> LogId {
    LogId { term: id.term, index: id.index }
}

fn payload(body: EntryBody) -> io::Result<Payload> {
    Ok(match body {
        EntryBody::Blank => Payload::Blank,
        EntryBody::Membership(bytes) => {
            Payload::Membership(Membership::from_bytes(bytes).map_err(io::Error::other)?)
        }
        EntryBody::Void => Payload::Data(Data { bytes: Bytes::new(), context: None }),
        EntryBody::Batch(bytes) | EntryBody::Produced(bytes) | EntryBody::Command(bytes) => {
            Payload::Data(Data { bytes, context: None })
        }
    })
}

impl LogPort for PartitionLog {
    fn state(&self) -> io::Result<LogState> {
        let last = self.log.last().map(log_id);
        let purged = self.log.purged().map(log_id);
        Ok(LogState { purged, last })
    }

    fn append(&self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        let mut end = self.log.end_offset();
        let mut answers = Vec::new();
        let mut entries: Vec<LogEntry> = entries
            .into_iter()
            .map(|entry| LogEntry {
                id: EntryId::new(entry.log_id.term, entry.log_id.index),
                body: match entry.payload {
                    Payload::Blank => EntryBody::Blank,
                    Payload::Membership(membership) => EntryBody::Membership(membership.to_bytes()),
                    Payload::Data(data) => {
                        Self::data_body(data, entry.log_id, &mut end, &mut answers)
                    }
                },
            })
            .collect();
        let mut voided_from = None;
        while !entries.is_empty() {
            let is_command = entries.iter().skip(1).position(begins_segment);
            let rest = is_command.map_or_else(Vec::new, |at| entries.split_off(at + 1));
            if voided_from.is_some() {
                // Their place was that behind those which are not there.
                void_produced(&mut entries);
            }
            let first = entries.first().map(|entry| entry.id.index);
            let bytes = entries.iter().map(LogEntry::bytes).sum();
            if self.log.has_to_sync(bytes) {
                blocking(|| self.log.patiently(|log| log.make_way(bytes)))?;
            }
            if self.append_run(&mut entries)? {
                voided_from = voided_from.or(first);
            }
            entries = rest;
        }
        if let Some(first) = voided_from {
            for refused in answers.extract_if(.., |answer| answer.index >= first) {
                refused.early.give(Err(PartitionError::Full));
            }
        }
        let done: SyncDone = Box::new(move |result| {
            if result.is_ok() {
                for answer in &answers {
                    answer.early.synced(answer.base);
                }
            }
            flushed.done(result);
        });
        if mutant::is_on("ack-before-sync") {
            self.log.sync(Box::new(drop));
            done(Ok(()));
        } else {
            self.log.confirm(done);
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let entries = self.log.patiently(|log| log.read_entries(range.clone(), bytes_max));
        let entries = self.damage.check(entries)?;
        entries
            .into_iter()
            .map(|entry| Ok(Entry { log_id: log_id(entry.id), payload: payload(entry.body)? }))
            .collect()
    }

    fn bytes_of(&self, range: Range<u64>) -> io::Result<u64> {
        self.log.bytes_of(range).map_err(Into::into)
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        let last = last.map(|id| id.index);
        self.log.patiently(|log| log.truncate_after(last)).map_err(Into::into)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        // A log that ended before a snapshot was made to begin behind it when that was installed.
        self.log.patiently(|log| log.purge(upto.index)).map_err(Into::into)
    }

    fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>> {
        Ok(self.log.key_ids(first.index, last.index).into_iter().map(log_id).collect())
    }

    fn applied_term(&self, index: u64) -> Option<u64> {
        let is_applied = index < self.machine.committed().next_index;
        is_applied.then(|| self.log.term_of(index)).flatten()
    }

    fn may_lack(&self) -> bool {
        self.log.is_relaxed() && self.is_reopened
    }
}

#[cfg(test)]
mod tests {
    use jackdaw_raft::GroupId;
    use jackdaw_raft::testing::{MemHardState, MemMachine, Ports, conformance};
    use tokio::sync::oneshot;

    use super::super::rebuild::Rebuilt;
    use super::super::sequencer::Answer;
    use super::*;
    use crate::model::record_batch::tests::opaque_batch;
    use crate::model::{PartitionIndex, TopicId};
    use crate::storage::{LogIdentity, LogOptions, Storage};

    fn port(log: Log) -> PartitionLog {
        let rebuilt = Rebuilt::from_log(&log, None).unwrap();
        let (purges, _) = tokio::sync::mpsc::unbounded_channel();
        let damage = Arc::<Damage>::default();
        let machine = PartitionMachine::new(log.clone(), rebuilt, purges, damage.clone());
        PartitionLog::new(log, Arc::new(machine), damage)
    }

    fn open(dir: &std::path::Path) -> Log {
        let identity = LogIdentity {
            cluster_id: "test".into(),
            topic_id: TopicId(7),
            partition: PartitionIndex(0),
        };
        Log::open(dir, &identity, LogOptions::default(), &Storage::default(), None).unwrap().0
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_port_passes_the_storage_suite_of_openraft() {
        conformance(GroupId { topic: 7, partition: 0 }, || {
            let guard = tempfile::tempdir()?;
            Ok(Ports {
                log: Arc::new(Resetting(port(open(guard.path())))),
                machine: Arc::new(MemMachine::default()),
                hard: Arc::new(MemHardState::default()),
                guard,
            })
        })
        .await
        .unwrap();
    }

    /// Resets the log as the partition's state machine does when it installs a snapshot: the suite
    /// has a machine of its own.
    struct Resetting(PartitionLog);

    impl LogPort for Resetting {
        fn state(&self) -> io::Result<LogState> {
            self.0.state()
        }

        fn append(&self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
            self.0.append(entries, flushed)
        }

        fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
            self.0.read(range, bytes_max)
        }

        fn bytes_of(&self, range: Range<u64>) -> io::Result<u64> {
            self.0.bytes_of(range)
        }

        fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
            self.0.truncate_after(last)
        }

        fn purge(&self, upto: LogId) -> io::Result<()> {
            let log = &self.0.log;
            if log.last().is_none_or(|last| last.index < upto.index) {
                log.reset(EntryId { term: upto.term, index: upto.index }, log.end_offset())?;
            }
            self.0.purge(upto)
        }

        fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>> {
            self.0.key_log_ids(first, last)
        }
    }

    fn proposal(term: u64, expected: i64) -> (Data, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let context = AppendContext {
            term,
            expected: Offset(expected),
            early: Some(Arc::new(EarlyAnswer::new(answer, Arc::new(|| true)))),
        };
        (Data { bytes: opaque_batch(2, b"ab"), context: Some(Arc::new(context)) }, answered)
    }

    fn append(port: &PartitionLog, index: u64, payload: Payload) {
        let entry = Entry { log_id: LogId { term: 3, index }, payload };
        port.append(vec![entry], Flushed::ignored()).unwrap();
    }

    #[tokio::test]
    async fn an_append_that_lands_elsewhere_than_expected_is_voided() {
        let dir = tempfile::tempdir().unwrap();
        let port = port(open(dir.path()));
        append(&port, 0, Payload::Blank);
        let (first, first_answer) = proposal(3, 0);
        append(&port, 1, Payload::Data(first));
        let (early, early_answer) = proposal(3, 4);
        append(&port, 2, Payload::Data(early));
        let (stale, stale_answer) = proposal(2, 2);
        append(&port, 3, Payload::Data(stale));
        let (second, second_answer) = proposal(3, 2);
        append(&port, 4, Payload::Data(second));

        assert_eq!(first_answer.await.unwrap().unwrap(), Offset(0));
        assert!(matches!(early_answer.await.unwrap(), Err(PartitionError::NotLeader)));
        assert!(matches!(stale_answer.await.unwrap(), Err(PartitionError::NotLeader)));
        assert_eq!(second_answer.await.unwrap().unwrap(), Offset(2));
        let lengths: Vec<usize> = port
            .read(1..5, u64::MAX)
            .unwrap()
            .iter()
            .map(|entry| match &entry.payload {
                Payload::Data(data) => data.bytes.len(),
                other => panic!("{other}"),
            })
            .collect();
        let batch = opaque_batch(2, b"ab").len();
        assert_eq!(lengths, [batch, 0, 0, batch], "void entries keep their index and hold nothing");
        assert_eq!(port.log.end_offset(), Offset(4));
    }
}
