//! Space is freed on a disk that has none, by giving ballast up.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::storage::{Disk, SystemDisk};

/// Nothing can grow until the file at `ballast` has become shorter than `short_of`.
struct FullDisk {
    ballast: PathBuf,
    short_of: AtomicU64,
}

impl FullDisk {
    fn check(&self) -> io::Result<()> {
        let ballast = fs::metadata(&self.ballast).map_or(0, |found| found.len());
        if self.short_of.load(Ordering::Relaxed) <= ballast {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// Whether a write goes beyond the file's end.
pub(in crate::storage) fn grows(
    file: &File,
    slices: &[IoSlice<'_>],
    position: u64,
) -> io::Result<bool> {
    let len: usize = slices.iter().map(|slice| slice.len()).sum();
    Ok(position + len as u64 > file.metadata()?.len())
}

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.check()?;
        SystemDisk.create(path)
    }

    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if grows(file, slices, position)? {
            self.check()?;
        }
        SystemDisk.write_at(file, slices, position)
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.check()?;
        SystemDisk.allocate(file, position, len)
    }
}

struct Setting {
    dir: tempfile::TempDir,
    disk: Arc<FullDisk>,
    log: Log,
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ballast = dir.path().join("ballast");
        let disk = Arc::new(FullDisk { ballast, short_of: AtomicU64::new(u64::MAX) });
        let storage = Storage::new(StorageOptions {
            disk: Arc::clone(&disk) as Arc<dyn Disk>,
            volume: Some(dir.path().to_owned()),
            reserve_bytes: 0,
            ..few_open()
        });
        let path = dir.path().join("log");
        let (log, _) = Log::open(&path, &identity(), small(), &storage.inline(), None).unwrap();
        Self { dir, disk, log }
    }

    fn ballast_bytes(&self) -> u64 {
        fs::metadata(&self.disk.ballast).unwrap().len()
    }

    /// From here on the disk is full, until so much of the ballast was given up.
    fn fill(&self, given_up: u64) {
        self.disk.short_of.store(self.ballast_bytes() + 1 - given_up, Ordering::Relaxed);
    }

    fn segments(&self) -> usize {
        let files = fs::read_dir(self.dir.path().join("log")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "log")).count()
    }
}

#[test]
fn a_purge_and_what_leads_to_it_go_on_with_ballast() {
    let setting = Setting::new();
    let log = &setting.log;
    append_each(log, &(0..10).map(|index| batch(1, index, 1, 700)).collect::<Vec<_>>());
    let (whole, segments) = (setting.ballast_bytes(), setting.segments());
    assert!(segments > 3);
    setting.fill(200_000);
    let more: Vec<_> = (10..20).map(|index| batch(1, index, 1, 700)).collect();
    let refused = log.append(&more).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert_eq!(setting.ballast_bytes(), whole, "records get none of it");

    log.seal_below(10).unwrap();
    let command = LogEntry::new(1, 10, EntryBody::Command(Bytes::from(vec![7; 5_000])));
    log.append_to_free(&[command]).unwrap();
    let left = setting.ballast_bytes();
    assert!(left <= whole - 200_000, "{left}");
    setting.fill(200_000);
    log.write_snapshot(b"what they amounted to").unwrap();
    log.purge(9).unwrap();
    assert_eq!((log.first_index(), setting.segments()), (10, 1));
    assert!(setting.ballast_bytes() <= left - 200_000);
}

#[test]
fn what_does_not_free_space_leaves_half_of_it() {
    let setting = Setting::new();
    let (log, whole) = (&setting.log, setting.ballast_bytes());
    setting.fill(whole);
    let entries: Vec<_> = (0..10).map(|index| batch(1, index, 1, 700)).collect();
    assert!(log.append_to_go_on(&entries).unwrap_err().is_full());
    assert_eq!(setting.ballast_bytes(), whole / 2);
    log.append_to_free(&entries).unwrap();
    assert_eq!(setting.ballast_bytes(), 0);
}
