//! `kill-all`: every node dies at the same moment under load, with a consumer group at work.

use anyhow::Result;

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::KillAll;

/// From the start of the processes until all nodes are ready, ms.
const READY_BAR_MS: f64 = 5000.0;

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn kill_all(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("kill-all", options, Cast::FULL, screen)?;
    let (session, ()) = session.attempt(|session| session.rounds(&mut KillAll))?;
    session.finish(|report| report.ready_bar(READY_BAR_MS * options.slack))
}
