//! Append latency at a steady pace, beside syncs that never pause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackdaw::storage::{LogOptions, RollLimits};

use crate::bed::{batch, entry, folder, open, storage, wait_synced};
use crate::figures::{Report, percentile};

const BYTES_PER_SECOND: usize = 200_000_000;
const LENGTH: Duration = Duration::from_secs(10);

pub(crate) fn latency(report: &mut Report) {
    let dir = folder();
    let storage = storage(dir.path());
    // Rolls several times meanwhile.
    let roll = RollLimits { bytes: 256 << 20, ..RollLimits::default() };
    let options = LogOptions { roll, ..LogOptions::default() };
    let log = open(&dir.path().join("log"), options, &storage);
    let batch = batch(16 << 10, 1);
    let pause = Duration::from_secs_f64(batch.len() as f64 / BYTES_PER_SECOND as f64);
    let stop = AtomicBool::new(false);
    let mut took = Vec::new();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                wait_synced(&log);
            }
        });
        let mut due = begun;
        while begun.elapsed() < LENGTH {
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            due += pause;
            let at = Instant::now();
            log.append(&[entry(took.len() as u64, &batch)]).unwrap();
            took.push(at.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let bytes = took.len() * batch.len();
    report.figure("pace", bytes as f64 / begun.elapsed().as_secs_f64() / 1e6, "MB/s");
    report.micros("append of 16 KiB, p50", percentile(&mut took, 50.0));
    report.micros("append of 16 KiB, p99 (bar: 1,500)", percentile(&mut took, 99.0));
    report.micros("append of 16 KiB, p99.9", percentile(&mut took, 99.9));
    report.micros("append of 16 KiB, largest", percentile(&mut took, 100.0));
}
