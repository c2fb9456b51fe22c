//! What single operations of a log take, to compare one commit with another.
//!
//! ```text
//! cargo bench --bench micro                     all
//! cargo bench --bench micro -- index_lookup     those whose name has it
//! JACKDAW_BENCH_DIR=/data cargo bench …         another disk than that of the temporary folder
//! ```
//! `benches/storage` sets costs against what the machine can do; these are plain times.
#![allow(clippy::unwrap_used)]

#[path = "storage/bed.rs"]
#[allow(dead_code)]
mod bed;

use std::path::Path;
use std::sync::mpsc;

use bed::{batch, careless, entry, folder, open, storage};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use jackdaw::model::Offset;
use jackdaw::storage::{Log, LogOptions, RollLimits, slices_len};

fn main() {
    divan::main();
}

/// A log of about so many segments with about so many bytes in all, in batches of 1 KiB.
fn filled(dir: &Path, segments: u64, bytes: u64) -> Log {
    let roll = RollLimits { bytes: bytes / segments + 4096, ..RollLimits::default() };
    let log = open(dir, LogOptions { roll, ..LogOptions::default() }, &careless());
    let batch = batch(1 << 10, 1);
    for index in 0..=bytes / batch.len() as u64 {
        log.append(&[entry(index, &batch)]).unwrap();
    }
    log
}

/// One batch into the page cache.
#[divan::bench(args = [1 << 10, 16 << 10, 256 << 10], max_time = 2)]
fn append(bencher: Bencher<'_, '_>, bytes: usize) {
    let dir = folder();
    let log = open(&dir.path().join("log"), LogOptions::default(), &careless());
    let (mut next, batch) = (0, batch(bytes, 1));
    bencher.counter(BytesCount::new(batch.len())).bench_local(|| {
        log.append(&[entry(next, &batch)]).unwrap();
        next += 1;
    });
}

/// So many appends that ask for a sync each, until the last is on the disk.
#[divan::bench(args = [1, 10, 100], max_time = 2)]
fn group_commit(bencher: Bencher<'_, '_>, appends: u64) {
    let dir = folder();
    let log = open(&dir.path().join("log"), LogOptions::default(), &storage(dir.path()));
    let (mut next, batch) = (0, batch(1 << 10, 1));
    bencher.counter(ItemsCount::new(appends)).bench_local(|| {
        let (tell, told) = mpsc::channel();
        for _ in 0..appends {
            log.append(&[entry(next, &batch)]).unwrap();
            next += 1;
            let tell = tell.clone();
            log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
        }
        drop(tell);
        assert!(told.iter().all(|synced| synced));
    });
}

/// From an offset to the slice with its batch, in 16 MiB of log.
#[divan::bench(args = [1, 20, 400])]
fn index_lookup(bencher: Bencher<'_, '_>, segments: u64) {
    let dir = folder();
    let log = filled(&dir.path().join("log"), segments, 16 << 20);
    let end = log.end_offset();
    let look = |at| log.slices(Offset(at), Offset(at + 1), 1, true).unwrap();
    // All segments are open from here on: that is not what is measured.
    (0..end.0).for_each(|at| drop(look(at)));
    let mut at = 0;
    bencher.bench_local(|| {
        // Far from the last one, and everywhere in time: 7919 is prime.
        at = (at + 7_919) % end.0;
        look(at)
    });
}

/// The slices of so many bytes, and those bytes.
#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20])]
fn read_slices(bencher: Bencher<'_, '_>, bytes: usize) {
    let dir = folder();
    let log = filled(&dir.path().join("log"), 4, 16 << 20);
    let end = log.end_offset();
    let found = log.slices(Offset(0), end, bytes, true).unwrap();
    bencher.counter(BytesCount::new(slices_len(&found))).bench_local(|| {
        for slice in log.slices(Offset(0), end, bytes, true).unwrap() {
            black_box(slice.read().unwrap());
        }
    });
}

/// Opens a log whose last segment has so many MiB that no recovery point speaks of.
#[divan::bench(args = [1, 16, 64], max_time = 3)]
fn recovery(bencher: Bencher<'_, '_>, mib: u64) {
    let dir = folder();
    let path = dir.path().join("log");
    drop(filled(&path, 1, mib << 20));
    let storage = careless();
    let counter = BytesCount::new(mib << 20);
    bencher.counter(counter).bench_local(|| open(&path, LogOptions::default(), &storage));
}
