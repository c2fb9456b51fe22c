//! A view of the file system of this process's own.
//!
//! Whoever makes mounts of its own, as `ip netns exec` does, takes a copy of all that it sees. A volume stays
//! in use as long as one copy is there, and cannot be mounted again after its power was cut. So what this process
//! mounts is seen by itself and the nodes that it starts, and by nobody else.

use std::io;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Keeps this process's mounts to itself. Nothing for who is not root, and cannot mount.
///
/// # Errors
/// The kernel's refusal, as where containers may not make mounts.
pub fn keep_apart() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // SAFETY: descriptors stay shared; only mounts and the working directory are of this thread's own.
    #[allow(unsafe_code)]
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}
