//! Names that cannot be changed when a segment is closed or goes.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use super::*;
use crate::storage::{Disk, SystemDisk};

/// A disk on which files are not renamed nor removed while there is an error to give.
#[derive(Default)]
struct StuckNames(AtomicI32);

impl StuckNames {
    fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Disk for StuckNames {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        SystemDisk.remove(path)
    }
}

struct Bed {
    _dir: tempfile::TempDir,
    disk: Arc<StuckNames>,
    /// What ended the process, had it ended.
    ends: Arc<Mutex<Vec<String>>>,
    log: Log,
}

fn bed() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let (disk, ends) = (Arc::<StuckNames>::default(), Arc::<Mutex<Vec<String>>>::default());
    let seen = Arc::clone(&ends);
    let storage = Storage::new(StorageOptions {
        disk: Arc::clone(&disk) as Arc<dyn Disk>,
        fatal: Arc::new(move |doing, _| seen.lock().unwrap().push(doing.to_owned())),
        ..few_open()
    });
    let (log, _) = Log::open(dir.path(), &identity(), small(), &storage.inline(), None).unwrap();
    append_each(&log, &[blank(1, 0), batch(1, 1, 1, 1_500)]);
    log.sync_blocking().unwrap();
    Bed { _dir: dir, disk, ends, log }
}

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

#[test]
fn a_roll_that_cannot_name_its_file_ends_the_process() {
    let Bed { disk, ends, log, .. } = &bed();
    disk.0.store(EIO, Ordering::SeqCst);
    assert!(log.append(&[batch(1, 2, 1, 1_500)]).is_err());
    let ends = ends.lock().unwrap();
    assert!(ends.len() == 1 && ends[0].starts_with("create a segment in"), "{ends:?}");
    disk.0.store(0, Ordering::SeqCst);
    assert!(matches!(log.append(&[batch(1, 2, 1, 10)]), Err(LogError::Failed { .. })));
}

#[test]
fn a_roll_without_room_or_descriptors_is_tried_again() {
    for errno in [EMFILE, ENOSPC] {
        let Bed { disk, ends, log, .. } = &bed();
        disk.0.store(errno, Ordering::SeqCst);
        let error = log.append(&[batch(1, 2, 1, 1_500)]).unwrap_err();
        assert!(error.may_pass(), "{error}");
        disk.0.store(0, Ordering::SeqCst);
        append_each(log, &[batch(1, 2, 1, 1_500)]);
        assert_eq!((log.segment_count(), ends.lock().unwrap().len()), (2, 0));
    }
}

#[test]
fn a_purge_that_cannot_take_a_file_away_ends_the_process() {
    let Bed { disk, ends, log, .. } = &bed();
    append_each(log, &[batch(1, 2, 1, 1_500)]);
    log.sync_blocking().unwrap();
    disk.0.store(EIO, Ordering::SeqCst);
    assert!(log.purge(1).is_err());
    assert_eq!(ends.lock().unwrap().len(), 1);
}
