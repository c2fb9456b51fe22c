//! A node's data on a small ext4 volume of its own, whose power can be cut.
//!
//! A cut is ext4's own shutdown without a flush: what is in the page cache and was not synced is gone,
//! in whatever order the kernel had written the rest, as when a machine loses its power.
//!
//! **Invariant:** the volume is unmounted when this is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::ioctl::{Setter, ioctl, opcode};

use super::tool::tool;

/// `EXT4_IOC_SHUTDOWN`: `_IOR('X', 125, __u32)`.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: neither data nor the journal is written.
const WITHOUT_FLUSH: u32 = 2;

/// A mounted volume.
#[derive(Debug)]
pub(super) struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes an image of `mib` MiB beside `mount` and mounts it there.
    ///
    /// # Errors
    /// Without root, `mkfs.ext4` or loop devices.
    pub(super) fn make(mount: &Path, mib: u64) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "volumes of their own need root, for loop devices: run the command with sudo"
        );
        let image = mount.with_extension("img");
        File::create(&image)?.set_len(mib << 20)?;
        fs::create_dir_all(mount)?;
        tool(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let volume = Self { image, mount: mount.to_owned() };
        volume.mount()?;
        Ok(volume)
    }

    /// Cuts the power: nothing that is not on the disk yet gets there. Processes that use the volume
    /// see errors from here on.
    ///
    /// # Errors
    /// The file system refuses.
    #[allow(unsafe_code)]
    pub(super) fn cut(&self) -> Result<()> {
        let root = File::open(&self.mount)?;
        // SAFETY: the opcode takes a pointer to a u32 and writes nothing.
        let done = unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSH)) };
        done.with_context(|| format!("shutting down {}", self.mount.display()))
    }

    /// Makes it read-only, open files too: what ext4 does to itself after an error of the disk.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn make_read_only(&self) -> Result<()> {
        tool(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.mount))
    }

    /// Mounts it again as the disk holds it; nobody may use it any more.
    ///
    /// # Errors
    /// It is in use, or the file system is beyond its journal's repair.
    pub(super) fn mount_again(&self) -> Result<()> {
        tool(Command::new("umount").arg(&self.mount))?;
        self.mount()
    }

    /// Takes all free space but a part of the volume's size, one by `left_share`; what was taken before
    /// stays taken.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn fill(&self, left_share: u64) -> Result<()> {
        let found = rustix::fs::statvfs(&self.mount)?;
        let left = found.f_blocks * found.f_frsize / left_share;
        let take = (found.f_bavail * found.f_frsize).saturating_sub(left);
        let file = File::options().append(true).create(true).open(self.filler())?;
        if take > 0 {
            let taken = file.metadata()?.len();
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), taken, take)?;
        }
        Ok(())
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    fn mount(&self) -> Result<()> {
        tool(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily, since a reader of the folder may still be about; an error leaves a mount behind,
        // which the kept or failing removal of the folder then shows.
        let _ = tool(Command::new("umount").arg("-l").arg(&self.mount));
    }
}
