//! A log without a free file descriptor closes segments for what it opens, and says so where it cannot.
//!
//! A binary of its own, since it lowers the limit of its process.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jackdaw::model::batch_builder::BatchBuilder;
use jackdaw::model::compression::Compression;
use jackdaw::model::{Offset, PartitionIndex, Timestamp, TopicId};
use jackdaw::storage::{
    BatchHeaders, EntryBody, FileSlice, Log, LogEntry, LogIdentity, LogOptions, RollLimits,
    Storage, StorageOptions,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Entries, each of which fills a segment.
const ENTRIES: u64 = 60;

fn entry(index: u64) -> LogEntry {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(Timestamp(index as i64), None, Some(&[index as u8 | 1; 900]), &[]);
    let body =
        if index == 0 { EntryBody::Blank } else { EntryBody::Produced(builder.build().unwrap()) };
    LogEntry::new(1, index, body)
}

fn storage() -> Storage {
    Storage::new(StorageOptions {
        cache_bytes_max: 0,
        open_segments_max: 1_000,
        fatal: Arc::new(|doing, error| panic!("{doing}: {error}")),
        ..StorageOptions::default()
    })
}

fn open(dir: &Path, storage: &Storage) -> Log {
    let options = LogOptions {
        roll: RollLimits { bytes: 1_500, ..RollLimits::default() },
        ..LogOptions::default()
    };
    let identity = LogIdentity {
        cluster_id: "c".to_owned(),
        topic_id: TopicId(1),
        partition: PartitionIndex(0),
    };
    Log::open(dir, &identity, options, storage, None).unwrap().0
}

fn batch_at(log: &Log, offset: i64) -> Vec<FileSlice> {
    log.slices(Offset(offset), Offset(offset + 1), 1, true).unwrap()
}

fn read_all(log: &Log) -> Vec<Bytes> {
    let slices = (log.start_offset().0..log.end_offset().0).flat_map(|at| batch_at(log, at));
    slices.map(|slice| slice.read().unwrap()).collect()
}

/// A walk in the midst of the segment that holds `offset`.
fn walk_at(log: &Log, offset: i64) -> BatchHeaders {
    let mut walk = log.batch_headers(Offset(offset), Offset(offset + 1)).unwrap();
    walk.next().unwrap().unwrap();
    walk
}

/// Leaves the process with the descriptors that it has, as long as what is returned lives.
fn take_all() -> Vec<File> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit_to = |current| setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    limit_to(maximum);
    let names = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let highest = names.map(|name| name.to_str().unwrap().parse::<u64>().unwrap()).max();
    limit_to(highest.map(|highest| highest + 1));
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_log_goes_on_without_a_free_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage();
    let log = open(&dir.path().join("log"), &storage);
    for index in 0..ENTRIES {
        log.append(&[entry(index)]).unwrap();
    }
    log.sync_blocking().unwrap();
    let wanted = read_all(&log);
    assert_eq!((wanted.len(), log.segment_count()), (59, 59));
    let limit = getrlimit(Resource::Nofile);
    let taken = take_all();
    assert_eq!(read_all(&log), wanted);
    drop(taken);

    // New segments, names on their way to the disk, recovery points: all of it opens files.
    let taken = take_all();
    for index in ENTRIES..ENTRIES + 20 {
        log.append(&[entry(index)]).unwrap();
        log.sync_blocking().unwrap();
    }
    read_all(&log);
    drop(taken);
    let taken = take_all();
    log.truncate_after(Some(ENTRIES - 1)).unwrap();
    assert_eq!(read_all(&log), wanted);
    drop(taken);
    let taken = take_all();
    log.purge(10).unwrap();
    assert_eq!(read_all(&log), wanted[10..]);
    drop(taken);

    // Where all are in use, those who come later are told, and nothing is lost.
    let other = dir.path().join("other");
    (0..3).for_each(|index| {
        let log = open(&other, &storage);
        log.append(&[entry(index)]).unwrap();
        // So that opening it again goes through its last segment only.
        log.sync_blocking().unwrap();
    });
    let other = open(&other, &storage);
    assert_eq!(other.segment_count(), 2);
    let mut held: Vec<_> = (10..59).map(|offset| walk_at(&log, offset)).collect();
    held.push(walk_at(&other, 1));
    let taken = take_all();
    let error = other.slices(Offset(0), Offset(1), 1, true).unwrap_err();
    assert!(error.may_pass(), "{error}");
    let error = log.append(&[entry(ENTRIES)]).unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(held.into_iter().all(|mut walk| walk.next().is_none()), "undisturbed");
    log.append(&[entry(ENTRIES)]).unwrap();
    log.sync_blocking().unwrap();
    assert_eq!(batch_at(&other, 0)[0].read().unwrap(), wanted[0]);
    drop(taken);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(read_all(&log)[..49], wanted[10..]);
}
