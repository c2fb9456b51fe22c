//! Tests of the store.

mod damage;
mod faults;

use std::fs::File;
use std::io::IoSlice;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::storage::log::tests::full::grows;
use crate::storage::{Disk, StorageOptions, SystemDisk};

fn key(owner: u8, kind: u8) -> StableKey {
    StableKey { owner: [owner; 20], kind }
}

fn number(number: u64) -> Option<StableValue> {
    Some(StableValue::new(&number.to_be_bytes()))
}

fn open(dir: &Path, storage: &Storage) -> StableStore {
    Recovered::read(dir).unwrap().open(storage).unwrap()
}

/// A storage over `disk` that does things in one order, and whose process does not end.
fn storage(disk: Arc<dyn Disk>) -> Storage {
    let fatal = Arc::new(|_: &str, _: &io::Error| {});
    Storage::new(StorageOptions { disk, fatal, ..StorageOptions::default() }).inline()
}

/// Syncs nothing: for what is looked at at once.
struct HastyDisk;

impl Disk for HastyDisk {
    fn sync_data(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Counts syncs; on request nothing can grow, or so many writes more find room and none after.
#[derive(Default)]
struct PlainDisk {
    syncs: AtomicUsize,
    is_full: AtomicBool,
    writes_left: Mutex<Option<usize>>,
}

impl PlainDisk {
    fn check(&self) -> io::Result<()> {
        match self.is_full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Disk for PlainDisk {
    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if grows(file, slices, position)? {
            self.check()?;
        }
        if let Some(left) = &mut *lock(&self.writes_left) {
            *left = left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        }
        SystemDisk.write_at(file, slices, position)
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.check()?;
        SystemDisk.allocate(file, position, len)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        HastyDisk.sync_data(file)
    }
}

#[tokio::test]
async fn changes_that_come_together_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(PlainDisk::default());
    let options =
        StorageOptions { disk: Arc::clone(&disk) as Arc<dyn Disk>, ..StorageOptions::default() };
    let store = open(dir.path(), &Storage::new(options));
    let begun = disk.syncs.load(Ordering::SeqCst);
    let saves: Vec<Durable> = (0..500_u64)
        .map(|n| {
            store.apply([(StableKey { owner: [n as u8; 20], kind: (n / 256) as u8 }, number(n))]);
            store.durable()
        })
        .collect();
    for save in saves {
        save.await.unwrap();
    }
    let syncs = disk.syncs.load(Ordering::SeqCst) - begun;
    assert!((2..500).contains(&syncs), "{syncs}");
    drop(store);
    assert_eq!(Recovered::read(dir.path()).unwrap().values().len(), 500);
}

#[test]
fn a_clean_stop_spares_the_next_start_every_write() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(PlainDisk::default());
    let storage = storage(Arc::clone(&disk) as Arc<dyn Disk>);
    let store = open(dir.path(), &storage);
    store.apply([(key(1, b'v'), number(7))]);
    store.close().unwrap();
    drop(store);
    let syncs = disk.syncs.load(Ordering::SeqCst);
    for _ in 0..4 {
        let store = open(dir.path(), &storage);
        assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs, "nothing was to be written");
        assert_eq!(store.get(&key(1, b'v')), number(7));
        store.close().unwrap();
        drop(store);
        assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs, "nothing has changed");
    }
    let store = open(dir.path(), &storage);
    store.apply([(key(1, b'v'), number(8))]);
    store.shared.sync().unwrap();
    drop(store);
    let store = open(dir.path(), &storage);
    assert!(disk.syncs.load(Ordering::SeqCst) > syncs + 2, "it was not closed");
    assert_eq!(store.get(&key(1, b'v')), number(8));
}

#[test]
fn a_full_disk_stops_no_vote_of_known_groups() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(PlainDisk::default());
    let storage = storage(Arc::clone(&disk) as Arc<dyn Disk>);
    let mut store = open(dir.path(), &storage);
    for owner in 0..100 {
        store.apply([(key(owner, b'v'), number(1))]);
        store.shared.sync().unwrap();
    }
    disk.is_full.store(true, Ordering::SeqCst);
    for term in 2..200 {
        for owner in 0..100 {
            store.apply([(key(owner, b'v'), number(term))]);
        }
        store.shared.sync().unwrap();
        if term % 50 == 0 {
            drop(store);
            store = open(dir.path(), &storage);
        }
    }
    assert_eq!(store.get(&key(99, b'v')), number(199));
    // Ten times as many groups find no room, and have it once there is some.
    let more = || (0..1000_u64).map(|n| (key((n % 250) as u8, (n / 250) as u8), number(1)));
    store.apply(more());
    assert!(store.shared.sync().is_err());
    disk.is_full.store(false, Ordering::SeqCst);
    store.shared.sync().unwrap();
    drop(store);
    assert_eq!(Recovered::read(dir.path()).unwrap().values().len(), 1100);
}

/// As on file systems that write elsewhere each time: taken room is no promise.
#[test]
fn a_write_that_finds_no_room_confirms_nothing_and_is_finished_later() {
    for (left, changes) in (0..3).flat_map(|left| [1, 10, 40].map(|changes| (left, changes))) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(PlainDisk::default());
        let storage = storage(Arc::clone(&disk) as Arc<dyn Disk>);
        let store = open(dir.path(), &storage);
        let vote = |n: u8, term| (key(n % 5, b'v'), number(term));
        store.apply((0..5).map(|n| vote(n, 1)));
        store.shared.sync().unwrap();
        for term in 2..5 {
            *lock(&disk.writes_left) = Some(left);
            let mut refused = 0;
            for _ in 0..3 {
                store.apply((0..changes).map(|n| vote(n, 100 * term + u64::from(n))));
                if let Err(error) = store.shared.sync().map_err(io::Error::from) {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{left}, {changes}");
                    refused += 1;
                }
                let found = Recovered::read(dir.path()).unwrap();
                assert_eq!(found.found(), Found::Whole, "{left}, {changes}");
                let (key, _) = vote(0, 0);
                let value = found.values().get(&key).copied();
                let all = [number(term - 1), store.get(&key)];
                assert!(all.contains(&value), "{left}, {changes}: {value:?}");
            }
            assert!(refused >= 2, "{left}, {changes}");
            *lock(&disk.writes_left) = None;
            // What came meanwhile counts, not what was begun.
            store.apply([vote(0, term)]);
            store.shared.sync().unwrap();
            let found = Recovered::read(dir.path()).unwrap();
            assert_eq!(
                (found.found(), found.values()),
                (Found::Whole, &lock(&store.shared.memory).values)
            );
            assert_eq!(store.get(&key(0, b'v')), number(term));
        }
    }
}
