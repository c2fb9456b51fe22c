//! The port from the metadata Raft group to its log: one entry, one frame.
//!
//! **Invariant:** the log holds no Kafka batches, so its offsets stay at 0; an entry of another
//! kind found in it is an error. `flushed` fires only after the sync that covers its entries.

use std::io;
use std::ops::Range;
use std::path::Path;

use jackdaw_raft::{Data, Entry, Flushed, LogId, LogPort, LogState, Membership, Payload};

use crate::model::{Offset, PartitionIndex, TopicId};
use crate::storage::{
    EntryBody, EntryId, Log, LogEntry, LogError, LogIdentity, LogOptions, RollLimits, Storage,
};

/// Bytes of a segment: below a snapshot's growth, so that a purge after one frees segments.
const SEGMENT_BYTES: u64 = 4 << 20;

/// The metadata group's [`LogPort`].
pub struct MetadataLog {
    log: Log,
}

fn id_in(id: EntryId) -> LogId {
    LogId { term: id.term, index: id.index }
}

fn id_out(id: LogId) -> EntryId {
    EntryId { term: id.term, index: id.index }
}

fn entry_out(entry: Entry) -> LogEntry {
    let body = match entry.payload {
        Payload::Blank => EntryBody::Blank,
        Payload::Membership(membership) => EntryBody::Membership(membership.to_bytes()),
        Payload::Data(data) => EntryBody::Command(data.bytes),
    };
    LogEntry { id: id_out(entry.log_id), body }
}

fn entry_in(entry: LogEntry) -> io::Result<Entry> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let payload = match entry.body {
        EntryBody::Blank => Payload::Blank,
        EntryBody::Membership(bytes) => Payload::Membership(
            Membership::from_bytes(bytes).map_err(|e| bad(format!("entry {}: {e}", entry.id)))?,
        ),
        EntryBody::Command(bytes) => Payload::Data(Data::new(bytes)),
        EntryBody::Batch(_) | EntryBody::Produced(_) | EntryBody::Void => {
            return Err(bad(format!("entry {} of the metadata log is no command", entry.id)));
        }
    };
    Ok(Entry { log_id: id_in(entry.id), payload })
}

impl MetadataLog {
    /// Opens the log in `dir`, or makes it. All entries up to `durable_hint` were on this disk.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn open(
        dir: &Path,
        cluster_id: &str,
        storage: &Storage,
        durable_hint: Option<u64>,
    ) -> Result<Self, LogError> {
        let identity = LogIdentity {
            cluster_id: cluster_id.to_owned(),
            topic_id: TopicId::ZERO,
            partition: PartitionIndex(0),
        };
        let roll = RollLimits { bytes: SEGMENT_BYTES, ..RollLimits::default() };
        let options = LogOptions { roll, ..LogOptions::default() };
        let (log, recovery) = Log::open(dir, &identity, options, storage, durable_hint)?;
        tracing::debug!(?recovery, "opened the metadata log");
        Ok(Self { log })
    }

    /// As [`Log::durable_upto`].
    #[must_use]
    pub fn durable_upto(&self, index: u64) -> Option<LogId> {
        self.log.durable_upto(index).map(id_in)
    }

    /// From here on a full disk ends the group at once: the node stops.
    pub fn stop_waiting(&self) {
        self.log.stop_waiting();
    }

    /// Syncs and marks the log as cleanly closed. Call once the group has ended.
    ///
    /// # Errors
    /// Those of [`Log::close`].
    pub fn close(&self) -> Result<(), LogError> {
        self.log.close()
    }
}

impl LogPort for MetadataLog {
    fn state(&self) -> io::Result<LogState> {
        let purged = self.log.purged().map(id_in);
        Ok(LogState { purged, last: self.log.last().map(id_in).or(purged) })
    }

    fn append(&self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        let entries: Vec<LogEntry> = entries.into_iter().map(entry_out).collect();
        match self.log.append_to_go_on(&entries) {
            Err(error) if error.may_pass() => self.log.patiently(|log| log.append(&entries))?,
            outcome => outcome?,
        };
        self.log.sync(Box::new(move |result| flushed.done(result)));
        Ok(())
    }

    fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
        match self.log.patiently(|log| log.read_entries(range.clone(), bytes_max)) {
            Ok(entries) => entries.into_iter().map(entry_in).collect(),
            Err(LogError::OutOfRange { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn bytes_of(&self, range: Range<u64>) -> io::Result<u64> {
        Ok(self.log.bytes_of(range)?)
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        let last = last.map(|last| last.index);
        Ok(self.log.patiently(|log| log.truncate_after(last))?)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        let last = self.log.last().or(self.log.purged());
        if last.is_none_or(|last| last.index < upto.index) {
            // A snapshot was installed that reaches beyond the log.
            let reset = |log: &Log| log.reset(id_out(upto), Offset::ZERO);
            return Ok(self.log.patiently(reset)?);
        }
        Ok(self.log.patiently(|log| log.purge(upto.index))?)
    }

    fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>> {
        Ok(self.log.key_ids(first.index, last.index).into_iter().map(id_in).collect())
    }
}
