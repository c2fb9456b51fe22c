//! Appends to a log that leaves syncing to the system, against a bare copy of the same bytes into a map of
//! a file that is allocated as a whole.
//!
//! A log takes so much before an append waits for the disk, and at these speeds a disk does not keep up: what
//! waits for no disk is measured as a burst below that, and what is sustained beside it, with the same bar. The log has
//! room ahead of its end, as one has that is in use.

use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jackdaw::storage::{FlushPolicy, LogOptions};
use memmap2::MmapOptions;
use rustix::fs::FallocateFlags;

use crate::bed::{batch, entry, folder, open, storage, wait_synced};
use crate::figures::{Bar, Report, median};

const WARM_BYTES: usize = 100 << 20;
const BURST_BYTES: usize = 48 << 20;
const SUSTAINED_BYTES: usize = 256 << 20;
const ROUNDS: usize = 15;
const SUSTAINED_ROUNDS: usize = 9;

pub(crate) fn throughput(report: &mut Report) {
    for bytes in [1 << 10, 16 << 10, 256 << 10] {
        let (name, batch) = (format!("{} KiB", bytes >> 10), batch(bytes, 1));
        let ratio = compare(report, &name, &batch, BURST_BYTES, ROUNDS);
        let name = format!("append against copy, {name}");
        match bytes >> 10 {
            16 => report.against(Bar::AtLeast(0.7), &name, ratio, "×"),
            _ => report.figure(&name, ratio, "×"),
        }
    }
    let (name, batch) = ("16 KiB, sustained", batch(16 << 10, 1));
    let ratio = compare(report, name, &batch, SUSTAINED_BYTES, SUSTAINED_ROUNDS);
    let name = format!("append against copy, {name}");
    report.against(Bar::AtLeast(0.7), &name, ratio, "×");
}

fn compare(report: &mut Report, name: &str, batch: &Bytes, bytes: usize, rounds: usize) -> f64 {
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

#[allow(unsafe_code)]
fn copy(batch: &Bytes, bytes: usize) -> Duration {
    let dir = folder();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.path().join("file"))
        .unwrap();
    rustix::fs::fallocate(file.as_fd(), FallocateFlags::empty(), 0, bytes as u64).unwrap();
    let begun = Instant::now();
    // SAFETY: the file is this function's own.
    let mut map = unsafe { MmapOptions::new().len(bytes).map_mut(&file) }.unwrap();
    // The same kind of map as the log's; refused where files have no huge pages.
    let _ = map.advise(memmap2::Advice::HugePage);
    for place in map.chunks_exact_mut(batch.len()) {
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
