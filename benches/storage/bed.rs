//! Folders, logs and batches for the scenarios.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jackdaw::model::batch_builder::BatchBuilder;
use jackdaw::model::compression::Compression;
use jackdaw::model::{PartitionIndex, Timestamp, TopicId};
use jackdaw::storage::{
    Disk, EntryBody, Log, LogEntry, LogIdentity, LogOptions, Storage, StorageOptions,
};

/// A folder that is removed at the end, on the disk that is to be measured.
pub(crate) fn folder() -> tempfile::TempDir {
    let on = std::env::var_os("JACKDAW_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(on).unwrap()
}

pub(crate) fn storage(dir: &Path) -> Storage {
    Storage::new(StorageOptions { volume: Some(dir.to_owned()), ..StorageOptions::default() })
}

/// For what a scenario sets up: it is not measured whether that is on the disk.
pub(crate) fn careless() -> Storage {
    Storage::new(StorageOptions { disk: std::sync::Arc::new(NoSync), ..StorageOptions::default() })
}

struct NoSync;

impl Disk for NoSync {
    fn sync_data(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_volume(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn open(dir: &Path, options: LogOptions, storage: &Storage) -> Log {
    let identity = LogIdentity {
        cluster_id: "bench".to_owned(),
        topic_id: TopicId(1),
        partition: PartitionIndex(0),
    };
    Log::open(dir, &identity, options, storage, None).unwrap().0
}

/// A batch of about `bytes` bytes in records of up to 1 KiB, of that time.
pub(crate) fn batch(bytes: usize, time: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    let value: Vec<u8> = (0..1_000_u32).map(|at| (at * 31 % 251) as u8 | 1).collect();
    while builder.size_bytes() + value.len() < bytes || builder.count() == 0 {
        let len = value.len().min(bytes.saturating_sub(80).max(1));
        builder.append(Timestamp(time), None, Some(&value[..len]), &[]);
    }
    builder.build().unwrap()
}

/// The log's next entry: its first is a leader's blank, as in every Raft log.
pub(crate) fn entry(index: u64, batch: &Bytes) -> LogEntry {
    let body = if index == 0 { EntryBody::Blank } else { EntryBody::Produced(batch.clone()) };
    LogEntry::new(1, index, body)
}

/// So many syncs in a row that take no longer: the disk has done what was left to it.
const SETTLED_SYNCS: usize = 200;
const SETTLED: Duration = Duration::from_millis(5);
const SETTLING_MAX: Duration = Duration::from_secs(60);

/// Waits until the disk has done what earlier scenarios left to it: the system discards the blocks of deleted files
/// behind everybody's back, and syncs wait for that.
pub(crate) fn settle() {
    let (file, begun) = (tempfile::tempfile_in(folder()).unwrap(), Instant::now());
    file.write_all_at(&[1; 4096], 0).unwrap();
    let mut quick = 0;
    while quick < SETTLED_SYNCS {
        if begun.elapsed() > SETTLING_MAX {
            eprintln!("the disk is busy: of {SETTLED_SYNCS} syncs some take more than {SETTLED:?}");
            return;
        }
        let at = Instant::now();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync_data().unwrap();
        quick = if at.elapsed() < SETTLED { quick + 1 } else { 0 };
    }
}

/// Waits until what was appended is on the disk.
pub(crate) fn wait_synced(log: &Log) {
    let (tell, told) = mpsc::sync_channel(1);
    log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    assert!(told.recv().unwrap());
}
