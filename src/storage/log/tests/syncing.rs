//! Group sync, its order, and its failure.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};

use super::*;
use crate::storage::{Disk, DurableEnd, SystemDisk};

/// Sync threads of a storage here, on a machine of any size.
const THREADS: usize = 4;

/// A disk whose syncs wait at a gate, are counted, and fail on demand.
#[derive(Default)]
pub(super) struct GatedDisk {
    shut: Mutex<bool>,
    volume_shut: Mutex<bool>,
    /// Syncs that pass a shut gate all the same.
    passes: AtomicUsize,
    opened: Condvar,
    begun: AtomicUsize,
    volumes: AtomicUsize,
    fail: AtomicBool,
}

impl GatedDisk {
    pub(super) fn set_shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    pub(super) fn let_one_pass(&self) {
        let _shut = self.shut.lock().unwrap();
        self.passes.fetch_add(1, Ordering::SeqCst);
        self.opened.notify_all();
    }

    fn takes_pass(&self) -> bool {
        let fewer = |passes: usize| passes.checked_sub(1);
        self.passes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }

    fn set_volume_shut(&self, shut: bool) {
        *self.volume_shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    fn pass(&self, gate: &Mutex<bool>) -> io::Result<()> {
        let mut shut = gate.lock().unwrap();
        while *shut && !self.takes_pass() {
            shut = self.opened.wait(shut).unwrap();
        }
        if self.fail.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(super) fn wait_begun(&self, count: usize) {
        while self.begun() < count {
            std::thread::yield_now();
        }
    }
}

impl Disk for GatedDisk {
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.pass(&self.shut)?;
        SystemDisk.sync_data(file)
    }

    fn sync_volume(&self, on: &File) -> io::Result<()> {
        self.volumes.fetch_add(1, Ordering::SeqCst);
        self.pass(&self.volume_shut)?;
        SystemDisk.sync_volume(on)
    }
}

pub(super) fn gated() -> (Arc<GatedDisk>, Storage, Arc<Mutex<Vec<String>>>) {
    gated_on(None)
}

fn gated_on(volume: Option<&Path>) -> (Arc<GatedDisk>, Storage, Arc<Mutex<Vec<String>>>) {
    let disk = Arc::new(GatedDisk::default());
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&fatal);
    let storage = Storage::new(StorageOptions {
        sync_threads_max: THREADS,
        volume: volume.map(Path::to_owned),
        disk: Arc::clone(&disk) as Arc<dyn Disk>,
        fatal: Arc::new(move |doing, error| {
            seen.lock().unwrap().push(format!("{doing}: {error}"));
        }),
        ..StorageOptions::default()
    })
    .without_looks();
    (disk, storage, fatal)
}

#[test]
fn those_who_ask_during_a_sync_share_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    // No segment is half full: making the next one ahead would sync that.
    let options = LogOptions { roll: RollLimits::default(), ..small() };
    let (log, _) = Log::open(dir.path(), &identity(), options, &storage, None).unwrap();
    let (tell, told) = mpsc::channel();
    let ask = |n: usize| {
        let tell = tell.clone();
        log.sync(Box::new(move |result| tell.send((n, result.is_ok())).unwrap()));
    };
    disk.set_shut(true);
    log.append(&[blank(1, 0)]).unwrap();
    ask(0);
    disk.wait_begun(1);
    for n in 1..50 {
        log.append(&[blank(1, n as u64)]).unwrap();
        ask(n);
    }
    assert_eq!(log.durable_end(), DurableEnd::default());
    disk.set_shut(false);
    let order: Vec<_> = told.iter().take(50).collect();
    assert_eq!(order, (0..50).map(|n| (n, true)).collect::<Vec<_>>());
    assert_eq!(disk.begun.load(Ordering::SeqCst), 2);
    assert_eq!(log.durable_end().next_index, 50);
}

#[test]
fn a_log_that_is_closed_is_not_written_to_by_those_who_ask_late() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    let (log, _) = Log::open(dir.path(), &identity(), small(), &storage, None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    log.close().unwrap();
    let begun = disk.begun.load(Ordering::SeqCst);
    let (tell, told) = mpsc::channel();
    log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    assert!(told.recv().unwrap(), "it is on the disk");
    assert_eq!(disk.begun.load(Ordering::SeqCst), begun);
}

#[test]
fn logs_are_synced_in_parallel() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    disk.set_shut(true);
    let (tell, told) = mpsc::channel();
    let logs: Vec<Log> = (0..THREADS as u64)
        .map(|n| {
            let dir = dir.path().join(n.to_string());
            let (log, _) = Log::open(&dir, &identity(), small(), &storage, None).unwrap();
            log.append(&[blank(1, 0)]).unwrap();
            let tell = tell.clone();
            log.sync(Box::new(move |_| tell.send(()).unwrap()));
            log
        })
        .collect();
    // All four syncs have begun although none has ended.
    disk.wait_begun(THREADS);
    disk.set_shut(false);
    assert_eq!(told.iter().take(THREADS).count(), THREADS);
    assert!(logs.iter().all(|l| l.durable_end().next_index == 1));
}

/// Forty logs with an entry each, and who tells that it is on disk. The disk is shut: each sync thread
/// waits in the sync of a log of its own when the others ask.
fn many(dir: &Path, disk: &GatedDisk, storage: &Storage) -> (Vec<Log>, mpsc::Receiver<bool>) {
    let (tell, told) = mpsc::channel();
    let open = |n: u64| {
        let dir = dir.join(n.to_string());
        let (log, _) = Log::open(&dir, &identity(), small(), storage, None).unwrap();
        log.append(&[blank(1, 0)]).unwrap();
        let tell = tell.clone();
        log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
        disk.wait_begun(THREADS.min(n as usize + 1));
        log
    };
    ((0..40).map(open).collect(), told)
}

#[test]
fn many_logs_of_a_volume_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated_on(Some(dir.path()));
    disk.set_shut(true);
    disk.set_volume_shut(true);
    let (logs, told) = many(dir.path(), &disk, &storage);
    disk.set_shut(false);
    while disk.volumes.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let alone = disk.begun.load(Ordering::SeqCst);
    assert!(alone <= THREADS, "{alone} were synced by the threads that came first");
    for log in &logs {
        log.append(&[blank(1, 1)]).unwrap();
    }
    disk.set_volume_shut(false);
    assert_eq!(told.iter().take(40).filter(|ok| *ok).count(), 40);
    assert_eq!(disk.volumes.load(Ordering::SeqCst), 1);
    let covered = logs.iter().filter(|log| log.durable_end().next_index == 1).count();
    assert_eq!(covered, 40, "what was appended during the sync is not covered by it");
}

#[test]
fn a_failed_sync_of_the_volume_fails_every_log_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, fatal) = gated_on(Some(dir.path()));
    disk.set_shut(true);
    let (logs, told) = many(dir.path(), &disk, &storage);
    disk.fail.store(true, Ordering::SeqCst);
    disk.set_shut(false);
    assert_eq!(told.iter().take(40).filter(|ok| *ok).count(), 0);
    assert!(logs.iter().all(|log| log.durable_end() == DurableEnd::default()));
    assert_eq!(fatal.lock().unwrap().len(), 40);
    assert!(matches!(logs[0].append(&[blank(1, 1)]), Err(LogError::Failed { .. })));
}

#[test]
fn the_first_failure_is_fatal_and_no_sync_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, fatal) = gated();
    let (log, _) = Log::open(dir.path(), &identity(), small(), &storage, None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    disk.fail.store(true, Ordering::SeqCst);
    let (tell, told) = mpsc::channel();
    for _ in 0..3 {
        let tell = tell.clone();
        log.sync(Box::new(move |result| tell.send(result.is_err()).unwrap()));
        assert!(told.recv().unwrap());
    }
    assert_eq!(disk.begun.load(Ordering::SeqCst), 1);
    assert_eq!(fatal.lock().unwrap().len(), 1);
    assert!(matches!(log.append(&[blank(1, 1)]), Err(LogError::Failed { .. })));
    assert_eq!(log.durable_end(), DurableEnd::default());
}

#[test]
fn a_truncation_during_a_sync_is_not_overtaken_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    let (log, _) = Log::open(dir.path(), &identity(), small(), &storage, None).unwrap();
    log.append(&(0..10).map(|i| blank(1, i)).collect::<Vec<_>>()).unwrap();
    disk.set_shut(true);
    let (tell, told) = mpsc::channel();
    log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    disk.wait_begun(1);
    let cutter = {
        let log = log.clone();
        std::thread::spawn(move || log.truncate_after(Some(4)).unwrap())
    };
    disk.wait_begun(2);
    disk.set_shut(false);
    cutter.join().unwrap();
    assert!(told.recv().unwrap());
    assert_eq!(log.durable_end().next_index, 5);
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!(log.last().map(|l| l.index), Some(4));
}

/// Ends the process, and zeros a sector of the entry at `index`, which was synced.
fn lose_a_sector(log: Log, dir: &Path, position: u64) {
    drop(log);
    let path = newest_segment(dir);
    let mut bytes = std::fs::read(&path).unwrap();
    let sector = (position as usize).next_multiple_of(512);
    bytes[sector..sector + 512].fill(0);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_sector_of_the_last_sync_before_an_idle_time_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = uncached();
    let (log, _) =
        Log::open(dir.path(), &identity(), LogOptions::default(), &storage, None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    log.sync_blocking().unwrap();
    // Long before the next recovery point is due.
    log.append(&[batch(1, 1, 1, 3_000), batch(1, 2, 1, 3_000)]).unwrap();
    let (tell, told) = mpsc::channel();
    log.sync(Box::new(move |result| tell.send(result).unwrap()));
    told.recv().unwrap().unwrap();
    storage.idle_points.look();
    storage.idle_points.look();
    lose_a_sector(log, dir.path(), 1_000);
    let opened = Log::open(dir.path(), &identity(), LogOptions::default(), &uncached(), None);
    let error = opened.err().expect("an acknowledged entry is gone");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}

#[test]
fn what_a_start_has_looked_at_is_covered_without_another_sync() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::default;
    let open = |storage: &Storage| Log::open(dir.path(), &identity(), options(), storage, None);
    let (log, _) = open(&uncached()).unwrap();
    log.append(&[blank(1, 0), batch(1, 1, 1, 3_000)]).unwrap();
    drop(log);
    let storage = uncached();
    let (log, _) = open(&storage).unwrap();
    storage.idle_points.look();
    storage.idle_points.look();
    lose_a_sector(log, dir.path(), 1_000);
    let error = open(&uncached()).err().expect("an entry that was there is gone");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}
