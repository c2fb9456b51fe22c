//! The port from a partition's Raft group to its segments.
//!
//! Raft entries and log entries are the same thing here: one data entry is one record batch. On the
//! leader each batch comes with the term and the base offset that the sequencer expects for it; one
//! that would land elsewhere is written as a void entry, which keeps its Raft index and holds no record. The
//! followers replicate what the leader wrote, so all replicas void the same entries.
//!
//! **Invariant:** an empty payload stands for a void entry, in memory and between nodes.
//! **Invariant:** `flushed` fires after the sync that covers the entries, and never before.

use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jackdaw_raft::{Data, Entry, Flushed, LogId, LogPort, LogState, Membership, Payload};
use tokio::sync::oneshot;

use super::error::PartitionError;
use super::lock;
use super::sequencer::{Answer, AppendContext};
use crate::model::Offset;
use crate::model::record_batch::BatchHeader;
use crate::storage::{EntryBody, EntryId, Log, LogEntry};

/// The log port of one partition.
pub(super) struct PartitionLog {
    log: Log,
}

/// Producers to answer once this node's disk has what they sent.
type LocalAnswers = Vec<(oneshot::Sender<Answer>, Offset)>;

impl PartitionLog {
    /// The port to `log`.
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }

    /// What to write for one data entry, given where the log ends before it.
    fn data_body(data: Data, term: u64, end: &mut Offset, answers: &mut LocalAnswers) -> EntryBody {
        if data.bytes.is_empty() {
            return EntryBody::Void;
        }
        if let Some(context) = append_context(data.context.as_ref()) {
            let answer = lock(&context.on_local_sync).take();
            if context.expected != *end || context.term != term {
                if let Some(answer) = answer {
                    drop(answer.send(Err(PartitionError::NotLeader)));
                }
                return EntryBody::Void;
            }
            answers.extend(answer.map(|answer| (answer, *end)));
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
        let mut answers = LocalAnswers::new();
        let entries: Vec<LogEntry> = entries
            .into_iter()
            .map(|entry| LogEntry {
                id: EntryId::new(entry.log_id.term, entry.log_id.index),
                body: match entry.payload {
                    Payload::Blank => EntryBody::Blank,
                    Payload::Membership(membership) => EntryBody::Membership(membership.to_bytes()),
                    Payload::Data(data) => {
                        Self::data_body(data, entry.log_id.term, &mut end, &mut answers)
                    }
                },
            })
            .collect();
        self.log.append(&entries)?;
        self.log.sync(Box::new(move |result| {
            if result.is_ok() {
                for (answer, base) in answers {
                    drop(answer.send(Ok(base)));
                }
            }
            flushed.done(result);
        }));
        Ok(())
    }

    fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let entries = self.log.read_entries(range, bytes_max)?;
        entries
            .into_iter()
            .map(|entry| Ok(Entry { log_id: log_id(entry.id), payload: payload(entry.body)? }))
            .collect()
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(|id| id.index)).map_err(Into::into)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        if self.log.last().is_some_and(|last| last.index >= upto.index) {
            return self.log.purge(upto.index).map_err(Into::into);
        }
        let upto = EntryId { term: upto.term, index: upto.index };
        self.log.reset(upto, self.log.end_offset()).map_err(Into::into)
    }

    fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>> {
        Ok(self.log.key_ids(first.index, last.index).into_iter().map(log_id).collect())
    }
}

#[cfg(test)]
mod tests {
    use jackdaw_raft::GroupId;
    use jackdaw_raft::testing::{MemHardState, MemMachine, Ports, conformance};

    use super::*;
    use crate::model::record_batch::tests::opaque_batch;
    use crate::model::{PartitionIndex, TopicId};
    use crate::storage::{LogIdentity, LogOptions, Storage};

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
                log: Arc::new(PartitionLog::new(open(guard.path()))),
                machine: Arc::new(MemMachine::default()),
                hard: Arc::new(MemHardState::default()),
                guard,
            })
        })
        .await
        .unwrap();
    }

    fn proposal(term: u64, expected: i64) -> (Data, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let context = AppendContext {
            term,
            expected: Offset(expected),
            on_local_sync: std::sync::Mutex::new(Some(answer)),
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
        let port = PartitionLog::new(open(dir.path()));
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
