//! How long a start takes after a kill.

use std::time::Instant;

use jackdaw::storage::LogOptions;

use crate::bed::{batch, entry, folder, open, storage, wait_synced};
use crate::figures::{Bar, Report, median};

const LOGS: usize = 100;
const BYTES_PER_LOG: usize = 100 << 20;

/// 100 logs of 100 MiB, none of them closed; opened in parallel, as a node does.
pub(crate) fn after_kill(report: &mut Report) {
    let dir = folder();
    let path = |n: usize| dir.path().join(n.to_string());
    let batch = batch(256 << 10, 1);
    {
        let storage = storage(dir.path());
        for n in 0..LOGS {
            let log = open(&path(n), LogOptions::default(), &storage);
            for index in 0..(BYTES_PER_LOG / batch.len()) as u64 {
                log.append(&[entry(index, &batch)]).unwrap();
            }
            wait_synced(&log);
        }
    }
    let mut took = Vec::new();
    for _ in 0..3 {
        let storage = storage(dir.path());
        let begun = Instant::now();
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (storage, path) = (&storage, &path);
                scope.spawn(move || {
                    for n in (thread..LOGS).step_by(threads) {
                        open(&path(n), LogOptions::default(), storage);
                    }
                });
            }
        });
        took.push(begun.elapsed().as_secs_f64());
    }
    let bytes = LOGS * BYTES_PER_LOG;
    report.figure("bytes in 100 logs", bytes as f64 / 1e9, "GB");
    report.against(Bar::AtMost(1.0), "opened after", median(&mut took), "s");
}
