//! Tests of the log as a whole.

mod basics;
mod cases;
mod closing;
mod compacting;
mod crash;
mod cuts;
mod failures;
pub(in crate::storage) mod fault_disk;
mod fetching;
pub(in crate::storage) mod full;
mod held;
mod model;
pub(in crate::storage) mod power_cut;
pub(in crate::storage) mod random;
mod records;
mod refusing;
mod regressions;
mod relaxing;
mod retaining;
mod run;
mod script;
mod shortage;
mod swapping;
mod syncing;
mod verifying;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::record_batch::{CRC_START, tests::opaque_batch};
use crate::model::{Offset, PartitionIndex, Timestamp, TopicId};
use crate::storage::{
    EntryBody, FileSlice, FlushPolicy, Log, LogEntry, LogError, LogIdentity, LogOptions, Recovery,
    RollLimits, Storage, StorageOptions,
};

fn identity() -> LogIdentity {
    LogIdentity {
        cluster_id: "test-cluster".to_owned(),
        topic_id: TopicId(0x1234),
        partition: PartitionIndex(3),
    }
}

/// Segments and index intervals so small that a few entries exercise them.
fn small() -> LogOptions {
    LogOptions {
        roll: RollLimits { bytes: 2000, ..RollLimits::default() },
        flush: FlushPolicy::Durable,
        index_interval_bytes: 200,
        preallocate_min_bytes: 1024,
        preallocate_max_bytes: 4096,
        recheck_bytes: 0,
    }
}

/// No cache, so that reads go to the files, few of which stay open.
fn few_open() -> StorageOptions {
    StorageOptions { cache_bytes_max: 0, open_segments_max: 2, ..StorageOptions::default() }
}

/// As [`few_open`]; a failure is an error, not the end of the process.
fn uncached() -> Storage {
    Storage::new(StorageOptions { fatal: Arc::new(|_, _| {}), ..few_open() }).inline()
}

fn open(dir: &Path) -> (Log, Recovery) {
    Log::open(dir, &identity(), small(), &uncached(), None).unwrap()
}

fn open_err(dir: &Path, hint: Option<u64>) -> LogError {
    match Log::open(dir, &identity(), small(), &uncached(), hint) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

fn blank(term: u64, index: u64) -> LogEntry {
    LogEntry::new(term, index, EntryBody::Blank)
}

/// A produced batch of `count` records with `bytes` bytes of payload that never look unwritten.
fn batch(term: u64, index: u64, count: i32, bytes: usize) -> LogEntry {
    let payload: Vec<u8> = (0..bytes).map(|i| (i as u8).wrapping_mul(7) | 1).collect();
    LogEntry::new(term, index, EntryBody::Produced(opaque_batch(count, &payload)))
}

fn batch_at(term: u64, index: u64, timestamp: i64, bytes: usize) -> LogEntry {
    let LogEntry { id, body: EntryBody::Produced(bytes) } = batch(term, index, 1, bytes) else {
        panic!()
    };
    let mut bytes = bytes.to_vec();
    bytes[27..35].copy_from_slice(&timestamp.to_be_bytes());
    bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    LogEntry { id, body: EntryBody::Produced(Bytes::from(bytes)) }
}

/// What reading an appended entry gives.
fn stamped(entry: &LogEntry, offset: Offset) -> LogEntry {
    let body = match &entry.body {
        EntryBody::Produced(bytes) => {
            let mut bytes = bytes.to_vec();
            bytes[..8].copy_from_slice(&offset.0.to_be_bytes());
            bytes[12..16].copy_from_slice(&(entry.id.term as i32).to_be_bytes());
            EntryBody::Batch(Bytes::from(bytes))
        }
        other => other.clone(),
    };
    LogEntry { id: entry.id, body }
}

/// Appends one by one and returns the entries as they must read back.
fn append_each(log: &Log, entries: &[LogEntry]) -> Vec<LogEntry> {
    entries
        .iter()
        .map(|entry| {
            let offset = log.append(std::slice::from_ref(entry)).unwrap().base_offsets[0];
            stamped(entry, offset)
        })
        .collect()
}

fn read_all(log: &Log) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut next = log.first_index();
    loop {
        let more = log.read_entries(next..u64::MAX, 700).unwrap();
        let Some(last) = more.last() else { return entries };
        next = last.id.index + 1;
        entries.extend(more);
    }
}

fn read_slices(slices: &[FileSlice]) -> Vec<u8> {
    slices.iter().flat_map(|s| s.read().unwrap()).collect()
}

fn batch_bytes(entries: &[LogEntry]) -> Vec<u8> {
    let bytes = |e: &LogEntry| match &e.body {
        EntryBody::Batch(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    entries.iter().flat_map(bytes).collect()
}

/// The files of a log, as a crash would leave them when everything written were on disk.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // A purged file may be on its way out.
        let is_gone = entry.path().extension().is_some_and(|extension| extension == "gone");
        if !is_gone {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn newest_segment(dir: &Path) -> std::path::PathBuf {
    super::open::segment_paths(dir).unwrap().pop().unwrap()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp(ms)
}
