//! `disk-full`: the disks of all nodes fill up under load and become free again; no process is
//! restarted.

use anyhow::{Result, ensure};

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::FillDisk;

/// Each node's data on a volume of its own; a producer that outlasts the fault.
const ON_VOLUMES: Cast = Cast { volume_mib: Some(512), ..Cast::FULL };

/// Runs it.
///
/// # Errors
/// Without root; the cluster does not start, does not resume, or cannot be read back.
pub fn disk_full(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("disk-full", options, ON_VOLUMES, screen)?;
    let pids = session.pids();
    let (session, ()) = session.attempt(|session| {
        for _ in 0..options.rounds {
            session.round(&mut FillDisk)?;
        }
        session.quiet()?;
        ensure!(session.pids() == pids, "a node was restarted: {pids:?}, {:?}", session.pids());
        Ok(())
    })?;
    session.finish(|_| {})
}
