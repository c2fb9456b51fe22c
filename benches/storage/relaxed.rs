//! Appends to a log that leaves syncing to the system, against a bare copy of the same bytes into a map of
//! a file that is allocated as a whole.

use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jackdaw::storage::{FlushPolicy, LogOptions};
use memmap2::MmapOptions;
use rustix::fs::FallocateFlags;

use crate::bed::{batch, entry, folder, open, storage};
use crate::figures::{Bar, Report, median};

const BYTES: usize = 256 << 20;
const ROUNDS: usize = 9;

pub(crate) fn throughput(report: &mut Report) {
    for bytes in [1 << 10, 16 << 10, 256 << 10] {
        let batch = batch(bytes, 1);
        let (mut bare, mut appended) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(copy(&batch));
            appended.push(append(&batch));
        }
        let mut ratios: Vec<f64> =
            bare.iter().zip(&appended).map(|(b, a)| b.as_secs_f64() / a.as_secs_f64()).collect();
        let per_second =
            |times: &mut Vec<Duration>| BYTES as f64 / median(times).as_secs_f64() / 1e6;
        let size = bytes >> 10;
        report.figure(&format!("bare copy, {size} KiB"), per_second(&mut bare), "MB/s");
        report.figure(&format!("append, {size} KiB"), per_second(&mut appended), "MB/s");
        let (name, ratio) = (format!("append against copy, {size} KiB"), median(&mut ratios));
        match size {
            16 => report.against(Bar::AtLeast(0.7), &name, ratio, "×"),
            _ => report.figure(&name, ratio, "×"),
        }
    }
}

#[allow(unsafe_code)]
fn copy(batch: &Bytes) -> Duration {
    let dir = folder();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.path().join("file"))
        .unwrap();
    rustix::fs::fallocate(file.as_fd(), FallocateFlags::empty(), 0, BYTES as u64).unwrap();
    let begun = Instant::now();
    // SAFETY: the file is this function's own.
    let mut map = unsafe { MmapOptions::new().len(BYTES).map_mut(&file) }.unwrap();
    // The same kind of map as the log's; refused where files have no huge pages.
    let _ = map.advise(memmap2::Advice::HugePage);
    for place in map.chunks_exact_mut(batch.len()) {
        place.copy_from_slice(batch);
    }
    begun.elapsed()
}

fn append(batch: &Bytes) -> Duration {
    let dir = folder();
    let flush = FlushPolicy::Relaxed { messages: u64::MAX, ms: u64::MAX };
    let options = LogOptions { flush, ..LogOptions::default() };
    let log = open(&dir.path().join("log"), options, &storage(dir.path()));
    log.append(&[entry(0, batch)]).unwrap();
    let begun = Instant::now();
    for index in 1..=(BYTES / batch.len()) as u64 {
        log.append(&[entry(index, batch)]).unwrap();
    }
    let took = begun.elapsed();
    // What it does behind the scenes would meet a folder that is gone.
    log.close().unwrap();
    took
}
