//! Room that is filled with zeros while the log is appended to.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::storage::Disk;

/// A disk that takes its time for zeros.
#[derive(Default)]
struct Slow {
    zeros: AtomicU64,
}

impl Disk for Slow {
    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.iter().all(|byte| *byte == 0)) {
            let count = self.zeros.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(count * 37 % 500));
        }
        self.below().write_at(file, slices, position)
    }
}

fn options() -> LogOptions {
    LogOptions {
        roll: RollLimits { bytes: 3 << 20, ..RollLimits::default() },
        preallocate_min_bytes: 4 << 10,
        preallocate_max_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

#[test]
fn no_zero_overtakes_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::<Slow>::default();
    let options_of_storage = StorageOptions { disk: disk.clone(), ..few_open() };
    let storage = Storage::new(options_of_storage);
    let (log, _) = Log::open(dir.path(), &identity(), options(), &storage, None).unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut held = Vec::new();
    while held.len() < 2_000 {
        if random.random_ratio(1, 100) {
            held.truncate(held.len() - random.random_range(0..=held.len().min(30)));
            log.truncate_after(held.last().map(|last: &LogEntry| last.id.index)).unwrap();
        }
        let bytes = random.random_range(1..24 << 10);
        let index = held.len() as u64;
        held.extend(append_each(&log, &[batch(1, index, 1, bytes)]));
    }
    assert!(disk.zeros.load(Ordering::Relaxed) > 100, "nothing is filled with zeros");
    assert!(read_all(&log) == held, "an entry is not as it was appended");
    drop(log);
    let (log, _) = Log::open(dir.path(), &identity(), options(), &uncached(), None).unwrap();
    assert!(read_all(&log) == held, "an entry is not as it was appended");
}

#[test]
fn a_log_whose_syncs_are_large_is_not_filled_with_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::<Slow>::default();
    let options_of_storage = StorageOptions { disk: disk.clone(), ..few_open() };
    let storage = Storage::new(options_of_storage);
    let roll = RollLimits { bytes: 1 << 30, ..RollLimits::default() };
    let options = LogOptions { roll, ..options() };
    let (log, _) = Log::open(dir.path(), &identity(), options, &storage, None).unwrap();
    let mut append = |index| {
        log.append(&[batch(1, index, 1, 600 << 10)]).unwrap();
        log.sync_blocking().unwrap();
    };
    (0..4).for_each(&mut append);
    let before = disk.zeros.load(Ordering::Relaxed);
    (4..24).for_each(&mut append);
    // What was asked for before the fourth sync may be filled still.
    assert!(disk.zeros.load(Ordering::Relaxed) <= before + 16);
}
