//! `leader-kill`: the busiest leader dies and comes back, again and again, under load.

use anyhow::Result;

use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, Screen};
use crate::faults::KillLeader;

/// Writes to a partition stand still for less than this after its leader's death, ms.
pub(super) const WRITE_GAP_BAR_MS: f64 = 3000.0;

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn leader_kill(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("leader-kill", options, Cast::FULL, screen)?;
    let (session, ()) = session.attempt(|session| session.rounds(&mut KillLeader::of(TOPIC)))?;
    session.finish(|report| report.write_gap_bar(WRITE_GAP_BAR_MS * options.slack))
}
