//! Append latency at a steady pace, beside syncs that never pause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackdaw::storage::{LogOptions, RollLimits};

use crate::bed::{batch, entry, folder, open, storage, wait_synced};
use crate::figures::{Bar, Report, percentile};

const BYTES_PER_SECOND: usize = 200_000_000;
const LENGTH: Duration = Duration::from_secs(10);

pub(crate) fn latency(report: &mut Report) {
    // Rolls several times meanwhile.
    measure(report, 256 << 20);
}

/// Segments as small as that are rare, but what a roll costs is seen in the percentiles.
pub(crate) fn rolls(report: &mut Report) {
    measure(report, 4 << 20);
}

fn measure(report: &mut Report, segment_bytes: u64) {
    let dir = folder();
    let storage = storage(dir.path());
    let roll = RollLimits { bytes: segment_bytes, ..RollLimits::default() };
    let options = LogOptions { roll, ..LogOptions::default() };
    let log = open(&dir.path().join("log"), options, &storage);
    let batch = batch(16 << 10, 1);
    let pause = Duration::from_secs_f64(batch.len() as f64 / BYTES_PER_SECOND as f64);
    let stop = AtomicBool::new(false);
    let (mut took, mut synced) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let syncs = scope.spawn(|| {
            let mut synced = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let at = Instant::now();
                wait_synced(&log);
                synced.push(at.elapsed());
            }
            synced
        });
        let mut due = begun;
        while begun.elapsed() < LENGTH {
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            log.append(&[entry(took.len() as u64, &batch)]).unwrap();
            // Since it was due: one that comes late for those before it is late.
            took.push(due.elapsed());
            due += pause;
        }
        stop.store(true, Ordering::Relaxed);
        synced = syncs.join().unwrap();
    });
    let bytes = took.len() * batch.len();
    let pace = bytes as f64 / begun.elapsed().as_secs_f64() / 1e6;
    report.against(Bar::AtLeast(199.0), "pace", pace, "MB/s");
    report.figure("segments", log.segment_count() as f64, "");
    report.micros("append of 16 KiB, p50", percentile(&mut took, 50.0));
    let late = percentile(&mut took, 99.0).as_secs_f64() * 1e6;
    report.against(Bar::AtMost(1_500.0), "append of 16 KiB, p99", late, "µs");
    report.micros("append of 16 KiB, p99.9", percentile(&mut took, 99.9));
    report.micros("append of 16 KiB, largest", percentile(&mut took, 100.0));
    report.micros("sync beside it, p50", percentile(&mut synced, 50.0));
    report.micros("sync beside it, p99", percentile(&mut synced, 99.0));
}
