//! Group sync: within one log and over many.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jackdaw::storage::{Log, LogOptions};
use tokio::sync::oneshot;

use crate::bed::{batch, entry, folder, open, storage};
use crate::figures::{Bar, Report, median};

const APPENDERS: usize = 64;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(1);
const LOGS: usize = 1_000;
/// Many, and short: the first ones share the disk with what the making of the files left behind.
const LOGS_ROUNDS: u64 = 31;

/// Each appender appends 1 KiB and waits until it is on the disk.
pub(crate) fn one_log(report: &mut Report) {
    let dir = folder();
    let storage = storage(dir.path());
    let log = open(&dir.path().join("log"), LogOptions::default(), &storage);
    let next = Arc::new(Mutex::new(0));
    append(&log, &next, &batch(1024, 1));
    let (mut alone, mut shared, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = appends_per_second(&log, &next, 1);
        let many = appends_per_second(&log, &next, APPENDERS);
        alone.push(one);
        shared.push(many);
        ratios.push(many / one);
    }
    report.figure("one appender", median(&mut alone), "appends/s");
    report.figure("64 appenders of the same log", median(&mut shared), "appends/s");
    report.against(Bar::AtLeast(20.0), "64 appenders against one", median(&mut ratios), "×");
}

fn append(log: &Log, next: &Mutex<u64>, batch: &Bytes) {
    let mut index = next.lock().unwrap();
    log.append(&[entry(*index, batch)]).unwrap();
    *index += 1;
}

fn appends_per_second(log: &Log, next: &Arc<Mutex<u64>>, appenders: usize) -> f64 {
    let count = AtomicU64::new(0);
    // Appenders are tasks, as in a broker: 64 threads would mostly measure their waking.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let shared = Arc::new((log.clone(), Arc::clone(next), count, batch(1024, 1)));
    let begun = Instant::now();
    runtime.block_on(async {
        for _ in 0..appenders {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let (log, next, count, batch) = &*shared;
                loop {
                    append(log, next, batch);
                    let (tell, told) = oneshot::channel();
                    log.sync(Box::new(move |result| {
                        // Nobody listens any more once the round is over.
                        let _ = tell.send(result.is_ok());
                    }));
                    assert!(told.await.unwrap());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tokio::time::sleep(ROUND).await;
    });
    let rate = shared.2.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    runtime.shutdown_timeout(Duration::from_secs(10));
    rate
}

/// An entry is appended to each of 1,000 logs; then all are put on the disk.
pub(crate) fn many_logs(report: &mut Report) {
    let dir = folder();
    let storage = storage(dir.path());
    let path = |n: usize| dir.path().join(n.to_string());
    let logs: Vec<Log> =
        (0..LOGS).map(|n| open(&path(n), LogOptions::default(), &storage)).collect();
    let files: Vec<File> =
        (0..LOGS).map(|n| File::open(path(n).join("00000000000000000000.log")).unwrap()).collect();
    let batch = batch(1024, 1);
    let append_all = |index| {
        for log in &logs {
            log.append(&[entry(index, &batch)]).unwrap();
        }
    };
    append_all(0);
    sync_all(&logs);
    let (mut serial, mut product, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..LOGS_ROUNDS {
        append_all(1 + 2 * round);
        let begun = Instant::now();
        files.iter().for_each(|file| file.sync_data().unwrap());
        serial.push(begun.elapsed());
        append_all(2 + 2 * round);
        let begun = Instant::now();
        sync_all(&logs);
        product.push(begun.elapsed());
        let (one, all) = (serial[serial.len() - 1], product[product.len() - 1]);
        ratios.push(one.as_secs_f64() / all.as_secs_f64());
    }
    report.micros("fdatasync of 1,000 files, one by one", median(&mut serial));
    report.micros("1,000 logs synced", median(&mut product));
    report.against(Bar::AtLeast(8.0), "faster by", median(&mut ratios), "×");
}

fn sync_all(logs: &[Log]) {
    let (tell, told) = mpsc::channel();
    for log in logs {
        let tell = tell.clone();
        log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    }
    assert_eq!(told.iter().take(logs.len()).filter(|ok| *ok).count(), logs.len());
}
