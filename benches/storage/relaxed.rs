//! Appends to a log that leaves syncing to the system, against a bare copy of the same bytes into a map of
//! a file that is allocated as a whole.
//!
//! A log takes so much before an append waits for the disk, and at these speeds a disk does not keep up: what
//! waits for no disk is measured as a burst below that, against a copy that waits for none. What is sustained is
//! measured against one that is held to the same bound. The log has room ahead of its end, as one has that is in
//! use.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jackdaw::storage::{FlushPolicy, LogOptions};
use memmap2::MmapOptions;
use rustix::fs::FallocateFlags;
use tempfile::TempDir;

use crate::bed::{batch, entry, folder, open, storage, wait_synced};
use crate::figures::{Bar, Report, median};

const WARM_BYTES: usize = 100 << 20;
const BURST_BYTES: usize = 48 << 20;
const SUSTAINED_BYTES: usize = 256 << 20;
const ROUNDS: usize = 41;
const SUSTAINED_ROUNDS: usize = 9;

/// What a log does: a sync once so many bytes wait for one, and no more than so many that do.
const SYNC_BYTES: usize = 32 << 20;
const UNSYNCED_BYTES_MAX: usize = 60 << 20;

pub(crate) fn throughput(report: &mut Report) {
    for bytes in [1 << 10, 16 << 10, 256 << 10] {
        let (name, batch) = (format!("{} KiB", bytes >> 10), batch(bytes, 1));
        let ratio = compare(report, &name, &batch, BURST_BYTES, ROUNDS, copy);
        let name = format!("append against copy, {name}");
        match bytes >> 10 {
            16 => report.against(Bar::AtLeast(0.7), &name, ratio, "×"),
            _ => report.figure(&name, ratio, "×"),
        }
    }
    let batch = batch(16 << 10, 1);
    let name = "16 KiB, sustained";
    let ratio = compare(report, name, &batch, SUSTAINED_BYTES, SUSTAINED_ROUNDS, copy);
    report.figure(&format!("append against copy, {name}"), ratio, "×");
    let name = "16 KiB, sustained, synced alike";
    let ratio = compare(report, name, &batch, SUSTAINED_BYTES, SUSTAINED_ROUNDS, synced_copy);
    report.against(Bar::AtLeast(0.7), &format!("append against copy, {name}"), ratio, "×");
}

fn compare(
    report: &mut Report,
    name: &str,
    batch: &Bytes,
    bytes: usize,
    rounds: usize,
    copy: impl Fn(&Bytes, usize) -> Duration,
) -> f64 {
    let (mut bare, mut appended) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(copy(batch, bytes));
        appended.push(append(batch, bytes));
    }
    let ratio = |(b, a): (&Duration, &Duration)| b.as_secs_f64() / a.as_secs_f64();
    let mut ratios: Vec<f64> = bare.iter().zip(&appended).map(ratio).collect();
    let per_second = |times: &mut Vec<Duration>| bytes as f64 / median(times).as_secs_f64() / 1e6;
    report.figure(&format!("bare copy, {name}"), per_second(&mut bare), "MB/s");
    report.figure(&format!("append, {name}"), per_second(&mut appended), "MB/s");
    median(&mut ratios)
}

fn copy(batch: &Bytes, bytes: usize) -> Duration {
    let dir = folder();
    copy_into_map(&allocated_file(&dir, bytes), batch, bytes, |_| {})
}

/// As [`copy`], with what a relaxed log promises of its start: a thread syncs, and the copy waits for it.
fn synced_copy(batch: &Bytes, bytes: usize) -> Duration {
    let dir = folder();
    let file = allocated_file(&dir, bytes);
    let (progress, changed) = (Mutex::new(Progress::default()), Condvar::new());
    let sync = || {
        let mut seen = progress.lock().unwrap();
        loop {
            let is_early = |seen: &mut Progress| !seen.ended && seen.unsynced() < SYNC_BYTES;
            seen = changed.wait_while(seen, is_early).unwrap();
            if seen.ended {
                return;
            }
            let covered = seen.copied;
            drop(seen);
            file.sync_data().unwrap();
            seen = progress.lock().unwrap();
            seen.synced = covered;
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(sync);
        let took = copy_into_map(&file, batch, bytes, |copied| {
            let mut seen = progress.lock().unwrap();
            seen.copied = copied;
            if seen.unsynced() >= SYNC_BYTES {
                changed.notify_all();
            }
            let is_full = |seen: &mut Progress| seen.unsynced() + batch.len() > UNSYNCED_BYTES_MAX;
            drop(changed.wait_while(seen, is_full).unwrap());
        });
        progress.lock().unwrap().ended = true;
        changed.notify_all();
        took
    })
}

/// How far a copy and its syncs are, in bytes.
#[derive(Default)]
struct Progress {
    copied: usize,
    synced: usize,
    ended: bool,
}

impl Progress {
    fn unsynced(&self) -> usize {
        self.copied - self.synced
    }
}

fn allocated_file(dir: &TempDir, bytes: usize) -> File {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create_new(true).open(dir.path().join("file")).unwrap();
    rustix::fs::fallocate(file.as_fd(), FallocateFlags::empty(), 0, bytes as u64).unwrap();
    file
}

/// Copies batches one behind the other, and says before each how many bytes there are.
#[allow(unsafe_code)]
fn copy_into_map(
    file: &File,
    batch: &Bytes,
    bytes: usize,
    mut copied: impl FnMut(usize),
) -> Duration {
    let begun = Instant::now();
    // SAFETY: the file is the caller's own.
    let mut map = unsafe { MmapOptions::new().len(bytes).map_mut(file) }.unwrap();
    // The same kind of map as the log's; refused where files have no huge pages.
    let _ = map.advise(memmap2::Advice::HugePage);
    for (at, place) in map.chunks_exact_mut(batch.len()).enumerate() {
        copied(at * batch.len());
        place.copy_from_slice(batch);
    }
    begun.elapsed()
}

fn append(batch: &Bytes, bytes: usize) -> Duration {
    let dir = folder();
    let flush = FlushPolicy::Relaxed { messages: u64::MAX, ms: u64::MAX };
    let options = LogOptions { flush, ..LogOptions::default() };
    let log = open(&dir.path().join("log"), options, &storage(dir.path()));
    let mut next = 0;
    let mut fill = |bytes: usize| {
        for _ in 0..bytes / batch.len() {
            log.append(&[entry(next, batch)]).unwrap();
            next += 1;
        }
    };
    fill(WARM_BYTES);
    wait_synced(&log);
    let begun = Instant::now();
    fill(bytes);
    let took = begun.elapsed();
    // What it does behind the scenes would meet a folder that is gone.
    log.close().unwrap();
    took
}
