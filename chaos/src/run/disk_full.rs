//! `disk-full`: the disks of all nodes fill up under load and become free again, in turn by something
//! beside Jackdaw and by records that retention deletes; no process is restarted.

use anyhow::{Result, ensure};

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::{FillDisk, FillLog};

/// Each node's data on a volume of its own; a producer that outlasts the fault.
const ON_VOLUMES: Cast = Cast {
    volume_mib: Some(512),
    nodes: &[("storage.retention_check_interval_ms", "500")],
    ..Cast::FULL
};

/// Runs it.
///
/// # Errors
/// Without root; the cluster does not start, does not resume, or cannot be read back.
pub fn disk_full(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("disk-full", options, ON_VOLUMES, screen)?;
    let pids = session.pids();
    let (session, ()) = session.attempt(|session| {
        let mut log = FillLog::default();
        for round in 0..options.rounds {
            match round % 2 {
                0 => session.round(&mut FillDisk)?,
                _ => session.round(&mut log)?,
            }
        }
        session.quiet()?;
        ensure!(session.pids() == pids, "a node was restarted: {pids:?}, {:?}", session.pids());
        Ok(())
    })?;
    session.finish(|_| {})
}
