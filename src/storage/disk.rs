//! The few system calls that put bytes on the disk, behind a trait so that tests can count, hold
//! and fail them; and the rule for when they fail.
//!
//! **Invariant:** a sync that failed is never tried again: the kernel marks the pages clean and a
//! second attempt lies (seen: ENOSPC, EIO, then OK with wrong bytes).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Puts files and folders on the disk.
pub trait Disk: Send + Sync {
    /// `fdatasync(2)`: the file's bytes and what is needed to read them back.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_data(&self, file: &File) -> io::Result<()>;

    /// `fsync(2)` of a folder: the names in it.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// `syncfs(2)`: everything on the volume of `on` (which tells of failed writes since Linux 5.8).
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_volume(&self, on: &File) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
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
