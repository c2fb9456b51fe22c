//! No descriptor is left when a log is to be put on the disk or closed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use rustix::io::Errno;

use super::*;
use crate::storage::{Disk, DurableEnd, SystemDisk};

/// A disk that has no descriptor for what is in some folders. One of its syncs of a volume may be held up.
#[derive(Default)]
struct ScarceDisk {
    lacking: Mutex<BTreeSet<PathBuf>>,
    refused: AtomicUsize,
    volumes: AtomicUsize,
    single: AtomicUsize,
    gate: Mutex<()>,
}

impl ScarceDisk {
    fn check(&self, dir: Option<&Path>) -> io::Result<()> {
        if dir.is_some_and(|dir| self.lacking.lock().unwrap().contains(dir)) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Errno::MFILE.into());
        }
        Ok(())
    }

    fn give_back(&self) {
        self.lacking.lock().unwrap().clear();
    }

    /// Waits until so many more attempts have failed.
    fn wait_refused(&self, more: usize) {
        let wanted = self.refused.load(Ordering::SeqCst) + more;
        while self.refused.load(Ordering::SeqCst) < wanted {
            std::thread::yield_now();
        }
    }
}

impl Disk for ScarceDisk {
    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.check(path.parent())?;
        SystemDisk.open_or_create(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(Some(dir))?;
        SystemDisk.sync_dir(dir)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.single.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().unwrap());
        SystemDisk.sync_data(file)
    }

    fn sync_volume(&self, on: &File) -> io::Result<()> {
        self.volumes.fetch_add(1, Ordering::SeqCst);
        SystemDisk.sync_volume(on)
    }
}

struct Bed {
    dir: tempfile::TempDir,
    disk: Arc<ScarceDisk>,
    storage: Storage,
    tell: mpsc::Sender<usize>,
    told: mpsc::Receiver<usize>,
}

impl Bed {
    fn new(sync_threads_max: usize, has_volume: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::<ScarceDisk>::default();
        let options = StorageOptions {
            sync_threads_max,
            volume: has_volume.then(|| dir.path().to_owned()),
            disk: Arc::clone(&disk) as Arc<dyn Disk>,
            ..few_open()
        };
        let (tell, told) = mpsc::channel();
        Self { dir, disk, storage: Storage::new(options).without_looks(), tell, told }
    }

    fn folder(&self, n: usize) -> PathBuf {
        self.dir.path().join(n.to_string())
    }

    fn lacks(&self, logs: std::ops::Range<usize>) {
        self.disk.lacking.lock().unwrap().extend(logs.map(|n| self.folder(n)));
    }

    fn open(&self, n: usize) -> Log {
        Log::open(&self.folder(n), &identity(), small(), &self.storage, None).unwrap().0
    }

    /// Tells `n` when the log is on the disk.
    fn ask(&self, log: &Log, n: usize) {
        let tell = self.tell.clone();
        log.sync(Box::new(move |result| {
            result.unwrap();
            tell.send(n).unwrap();
        }));
    }
}

#[test]
fn logs_that_lack_a_descriptor_hold_up_no_others_and_are_synced_in_the_end() {
    const LACKING: usize = 5;
    let bed = Bed::new(2, false);
    let logs: Vec<Log> = (0..=LACKING).map(|n| bed.open(n)).collect();
    logs.iter().for_each(|log| drop(log.append(&[blank(1, 0)]).unwrap()));
    bed.lacks(0..LACKING);
    (0..LACKING).for_each(|n| bed.ask(&logs[n], n));
    bed.disk.wait_refused(LACKING);
    bed.ask(&logs[LACKING], LACKING);
    assert_eq!(bed.told.recv().unwrap(), LACKING);
    assert_eq!(logs[0].durable_end(), DurableEnd::default());

    // Those who ask meanwhile are told after those who asked before.
    logs[0].append(&[blank(1, 1)]).unwrap();
    bed.ask(&logs[0], 100);
    bed.disk.give_back();
    let told: Vec<usize> = bed.told.iter().take(LACKING + 1).collect();
    let place = |n: usize| told.iter().position(|told| *told == n).unwrap();
    assert!(place(0) < place(100), "{told:?}");
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), LACKING + 1);
    assert_eq!(logs[0].durable_end().next_index, 2);
    assert!(logs[1..].iter().all(|log| log.durable_end().next_index == 1));
}

#[test]
fn what_lacks_a_descriptor_when_its_volume_is_synced_is_synced_later() {
    const LOGS: usize = 30;
    const LACKING: usize = 10;
    let bed = Bed::new(1, true);
    for n in 0..LOGS {
        let log = bed.open(n);
        append_each(&log, &[blank(1, 0), batch(1, 1, 1, 100), batch(1, 2, 1, 100)]);
        log.purge(1).unwrap();
    }
    // The mark of each is written again with the first sync.
    let logs: Vec<Log> = (0..LOGS).map(|n| bed.open(n)).collect();
    logs.iter().for_each(|log| drop(log.append(&[blank(1, 3)]).unwrap()));
    let first = bed.open(LOGS);
    first.append(&[blank(1, 0)]).unwrap();
    bed.lacks(0..LACKING);
    let held = bed.disk.gate.lock().unwrap();
    let single = bed.disk.single.load(Ordering::SeqCst);
    bed.ask(&first, LOGS);
    while bed.disk.single.load(Ordering::SeqCst) == single {
        std::thread::yield_now();
    }
    (0..LOGS).for_each(|n| bed.ask(&logs[n], n));
    drop(held);
    let told: BTreeSet<usize> = bed.told.iter().take(1 + LOGS - LACKING).collect();
    assert_eq!((told, bed.disk.volumes.load(Ordering::SeqCst)), ((LACKING..=LOGS).collect(), 1));
    // Tried again, and nobody is held up by it.
    bed.disk.wait_refused(LACKING);
    bed.ask(&first, LOGS);
    assert_eq!(bed.told.recv().unwrap(), LOGS);
    bed.disk.give_back();
    let told: BTreeSet<usize> = bed.told.iter().take(LACKING).collect();
    assert_eq!((told, bed.disk.volumes.load(Ordering::SeqCst)), ((0..LACKING).collect(), 1));
    assert!(logs.iter().all(|log| log.durable_end().next_index == 4));
}

#[test]
fn a_log_that_cannot_be_synced_when_it_is_closed_leaves_its_folder_alone() {
    let bed = Bed::new(1, false);
    let log = bed.open(0);
    log.append(&[blank(1, 0)]).unwrap();
    // One that waits for its turn while the log is closed.
    let other = bed.open(1);
    let held = bed.disk.gate.lock().unwrap();
    bed.ask(&other, 1);
    let (tell, told) = mpsc::channel();
    let ask = || {
        let tell = tell.clone();
        log.sync(Box::new(move |result| tell.send(result.is_err()).unwrap()));
    };
    ask();
    bed.lacks(0..1);
    log.stop_waiting();
    drop(held);
    assert!(log.close().unwrap_err().may_pass());
    bed.disk.give_back();
    assert!(log.append(&[blank(1, 1)]).is_err());
    ask();
    assert!(told.iter().take(2).all(|failed| failed), "nobody is told that it is on the disk");
    assert_eq!(log.durable_end(), DurableEnd::default());

    let (again, recovery) =
        Log::open(&bed.folder(0), &identity(), small(), &bed.storage, None).unwrap();
    assert!(!recovery.clean);
    again.append(&[blank(1, 1)]).unwrap();
    again.sync_blocking().unwrap();
    let files = || {
        let names = std::fs::read_dir(bed.folder(0)).unwrap().map(|file| file.unwrap().path());
        names.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let before = files();
    ask();
    assert!(told.recv().unwrap());
    assert!(log.close().is_err() && log.sync_blocking().is_err());
    assert!(files() == before, "it was changed by a log that was closed");
}
