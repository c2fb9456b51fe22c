//! The few system calls that change files, behind a trait so that tests can count, hold and fail
//! them; and the rule for when they fail.
//!
//! **Invariant:** no file of a log is changed but through [`Disk`], except for the maps of its indexes,
//! which are made again when they are lost.
//! **Invariant:** a sync that failed is never tried again: the kernel marks the pages clean and a
//! second attempt lies (seen: ENOSPC, EIO, then OK with wrong bytes).

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::file_map::FileMap;

/// Changes files and folders, and puts them on the disk. A disk that wraps another
/// one names it, and changes what it has to.
pub trait Disk: Send + Sync {
    /// The disk that does whatever is not done here.
    fn below(&self) -> &dyn Disk {
        &SystemDisk
    }

    /// Opens a file for reading and writing, empty, made if it is not there.
    ///
    /// # Errors
    /// Of the operating system.
    fn create(&self, path: &Path) -> io::Result<File> {
        self.below().create(path)
    }

    /// Opens a file for reading and writing as it is, made if it is not there.
    ///
    /// # Errors
    /// Of the operating system.
    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.below().open_or_create(path)
    }

    /// `pwritev(2)`: how many bytes of `slices` it wrote, maybe fewer than there are.
    ///
    /// # Errors
    /// Of the operating system.
    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.below().write_at(file, slices, position)
    }

    /// Copies `slices` into `map`, a map of `file`, so that they are in the file at `position`.
    ///
    /// # Errors
    /// None on a real disk: what is mapped has blocks.
    fn store(
        &self,
        file: &File,
        map: &mut FileMap,
        slices: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<()> {
        self.below().store(file, map, slices, position)
    }

    /// `fallocate(2)`: room of `len` bytes from `position` on, which read as zeros; the file grows to
    /// its end.
    ///
    /// # Errors
    /// Of the operating system.
    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        self.below().allocate(file, position, len)
    }

    /// `ftruncate(2)`.
    ///
    /// # Errors
    /// Of the operating system.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.below().set_len(file, len)
    }

    /// `rename(2)`.
    ///
    /// # Errors
    /// Of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below().rename(from, to)
    }

    /// `unlink(2)`.
    ///
    /// # Errors
    /// Of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below().remove(path)
    }

    /// Makes a folder and those above it, as far as they are not there.
    ///
    /// # Errors
    /// Of the operating system.
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.below().create_dir(path)
    }

    /// `fdatasync(2)`: the file's bytes and what is needed to read them back.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.below().sync_data(file)
    }

    /// `fsync(2)` of a folder: the names in it.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.below().sync_dir(dir)
    }

    /// `syncfs(2)`: everything on the volume of `on` (which tells of failed writes since Linux 5.8).
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_volume(&self, on: &File) -> io::Result<()> {
        self.below().sync_volume(on)
    }
}

impl dyn Disk + '_ {
    /// Writes all of `slices` at `position`; returns their bytes. What is written when it fails is not
    /// known.
    pub(super) fn write_all_at(
        &self,
        file: &File,
        mut slices: &mut [IoSlice<'_>],
        position: u64,
    ) -> io::Result<u64> {
        let mut written = 0;
        while !slices.is_empty() {
            match self.write_at(file, slices, position + written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    written += n as u64;
                    IoSlice::advance_slices(&mut slices, n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Writes all of `bytes` at `position`.
    pub(super) fn write_bytes_at(
        &self,
        file: &File,
        bytes: &[u8],
        position: u64,
    ) -> io::Result<()> {
        self.write_all_at(file, &mut [IoSlice::new(bytes)], position).map(drop)
    }

    /// Removes the file at `path` unless it is gone already.
    pub(super) fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.remove(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, slices, position)?)
    }

    fn store(
        &self,
        file: &File,
        map: &mut FileMap,
        slices: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<()> {
        let _ = file;
        map.put(slices, position);
        Ok(())
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), position, len)?)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_volume(&self, on: &File) -> io::Result<()> {
        Ok(rustix::fs::syncfs(on)?)
    }
}

/// Called with what was being done, and the error, at the first write or sync that failed. The
/// default ends the process; one that returns leaves the log refusing writes.
pub type FatalHook = Arc<dyn Fn(&str, &io::Error) + Send + Sync>;

/// The default [`FatalHook`]: one line, then `abort`, so that nothing unsynced is acknowledged and
/// nothing is written over a state that the disk may not hold.
#[must_use]
pub fn abort_process() -> FatalHook {
    Arc::new(|doing, error| {
        tracing::error!(%error, "{doing} failed; the process ends so that nothing is acknowledged \
             that the disk may not hold: check the disk, then start again");
        // The subscriber may buffer or be absent; stderr must have the reason.
        let _ = writeln!(io::stderr(), "jackdaw: {doing} failed: {error}: check the disk");
        std::process::abort();
    })
}
