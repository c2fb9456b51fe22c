//! The two copies on the disk, two files each.
//!
//! **Invariant:** what is written goes to both copies, and counts as synced when both are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StableError;
use super::record::RECORD_BYTES;
use super::recovery::Bytes;
use super::second::Second;
use crate::model::mutant;
use crate::storage::Storage;
use crate::storage::ballast::Need;
use crate::storage::error::is_full;

/// Names of the files, by copy and file.
const NAMES: [[&str; 2]; 2] = [["first.0", "first.1"], ["second.0", "second.1"]];

const TAKE_ROOM: &str = "take room for";
/// What is being done when a full disk is a failure: what was written before may be gone.
pub(super) const SYNC: &str = "sync";

fn path(dir: &Path, copy: usize, file: usize) -> PathBuf {
    dir.join(NAMES[copy][file])
}

/// What the files hold, by copy and file.
pub(super) fn read(dir: &Path) -> Result<[[Bytes; 2]; 2], StableError> {
    let mut copies = [[None, None], [None, None]];
    for (copy, files) in copies.iter_mut().enumerate() {
        for (file, bytes) in files.iter_mut().enumerate() {
            let path = path(dir, copy, file);
            *bytes = match fs::read(&path) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(StableError::io("read", &path)(error)),
            };
        }
    }
    Ok(copies)
}

/// The open files.
pub(super) struct Files {
    dir: PathBuf,
    files: Arc<[[File; 2]; 2]>,
    storage: Storage,
    /// None where one copy is synced after the other.
    second: Option<Second>,
}

impl Files {
    /// Opens them, made if they are not there; their names are on the disk.
    pub(super) fn open(dir: &Path, storage: &Storage) -> Result<Self, StableError> {
        let disk = &*storage.disk;
        let is_new = !dir.is_dir();
        if is_new {
            disk.create_dir(dir).map_err(StableError::io("make", dir))?;
        }
        let mut is_complete = true;
        let mut open = |copy, file| {
            let path = path(dir, copy, file);
            is_complete &= path.exists();
            with_room(storage, || disk.open_or_create(&path))
                .map_err(StableError::io("open", &path))
        };
        let files = [[open(0, 0)?, open(0, 1)?], [open(1, 0)?, open(1, 1)?]];
        if !is_complete {
            let above = dir.parent().filter(|above| is_new && !above.as_os_str().is_empty());
            for dir in [Some(dir), above].into_iter().flatten() {
                disk.sync_dir(dir).map_err(StableError::io("sync", dir))?;
            }
        }
        let files = Arc::new(files);
        let second = (!storage.background.is_inline()).then(|| {
            let (files, disk) = (Arc::clone(&files), Arc::clone(&storage.disk));
            Second::start(Box::new(move |file| disk.sync_data(&files[1][file])))
        });
        // Where no thread is to be had now, one does it all.
        let second = second.and_then(Result::ok);
        Ok(Self { dir: dir.to_owned(), files, storage: storage.clone(), second })
    }

    /// For how many records a file has room in both copies.
    pub(super) fn slots(&self, file: usize) -> Result<u32, StableError> {
        let mut bytes = u64::MAX;
        for (copy, files) in self.files.iter().enumerate() {
            let found = files[file].metadata();
            let found = found.map_err(|error| self.error("look at", copy, file, error))?.len();
            bytes = bytes.min(found);
        }
        Ok(u32::try_from(bytes / RECORD_BYTES as u64).unwrap_or(u32::MAX))
    }

    /// Takes room for so many records, in both copies.
    pub(super) fn take_room(&self, file: usize, slots: u32) -> Result<(), StableError> {
        let bytes = u64::from(slots) * RECORD_BYTES as u64;
        for (copy, files) in self.files.iter().enumerate() {
            let allocate = || match self.storage.disk.allocate(&files[file], 0, bytes) {
                // A file system without preallocation: its records take what room is there then.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.storage.disk.set_len(&files[file], bytes)
                }
                allocated => allocated,
            };
            with_room(&self.storage, allocate)
                .map_err(|error| self.error(TAKE_ROOM, copy, file, error))?;
        }
        Ok(())
    }

    /// Writes `bytes` from a slot on, to both copies.
    pub(super) fn write(&self, file: usize, slot: u32, bytes: &[u8]) -> Result<(), StableError> {
        let (disk, position) = (&*self.storage.disk, u64::from(slot) * RECORD_BYTES as u64);
        for (copy, files) in self.files.iter().enumerate() {
            // Its room is taken, which helps little where the file system writes elsewhere each time.
            with_room(&self.storage, || disk.write_bytes_at(&files[file], bytes, position))
                .map_err(|error| self.error("write", copy, file, error))?;
        }
        Ok(())
    }

    /// Puts a file on the disk, both copies at the same time.
    pub(super) fn sync(&self, file: usize) -> Result<(), StableError> {
        let sync = |copy: usize| {
            let synced = self.storage.disk.sync_data(&self.files[copy][file]);
            synced.map_err(|error| self.error(SYNC, copy, file, error))
        };
        if mutant::is_on("stable-store-not-synced") {
            return Ok(());
        }
        let Some(second) = &self.second else {
            return sync(0).and_then(|()| sync(1));
        };
        let (first, second) = second.beside(file, || sync(0));
        first.and(second.map_err(|error| self.error(SYNC, 1, file, error)))
    }

    fn error(
        &self,
        doing: &'static str,
        copy: usize,
        file: usize,
        error: io::Error,
    ) -> StableError {
        StableError::io(doing, &path(&self.dir, copy, file))(error)
    }
}

/// Attempts what may need room, and gives ballast up for it on a full disk.
fn with_room<T>(storage: &Storage, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if is_full(&error) && storage.space.give(Need::GoOn) => {}
            outcome => return outcome,
        }
    }
}
