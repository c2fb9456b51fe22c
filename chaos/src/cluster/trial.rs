//! Whether this machine has what clusters on hosts and volumes of their own need: found out by trying.

use std::process::Command;

use anyhow::{Context, Result};

use super::Network;
use super::tool::tool;
use super::volume::Volume;

/// Size of the volume that is made and thrown away.
const VOLUME_MIB: u64 = 16;

/// Whether nodes can have hosts of their own.
///
/// # Errors
/// They cannot: with what is missing.
pub fn try_hosts() -> Result<()> {
    Network::make(1).map(drop)
}

/// Whether nodes can have volumes of their own.
///
/// # Errors
/// They cannot: with what is missing.
pub fn try_volumes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    Volume::make(&folder.path().join("data"), VOLUME_MIB).map(drop)
}

/// Whether processes can be traced.
///
/// # Errors
/// They cannot: with what is missing.
pub fn try_tracing() -> Result<()> {
    tool(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]))
        .context("errors of system calls need strace, and the right to trace")
}
