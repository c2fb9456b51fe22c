//! `rolling-restart`: every node is stopped as an operator would and started again, one after the other.

use anyhow::Result;

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::Restart;

/// Writes to a partition stand still for no longer than this, ms.
const WRITE_GAP_BAR_MS: f64 = 300.0;

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn rolling_restart(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("rolling-restart", options, Cast::FULL, screen)?;
    let (session, ()) = session.attempt(|session| {
        for _ in 0..options.rounds {
            for node in session.node_ids() {
                session.round(&mut Restart::of(node))?;
            }
        }
        session.quiet()
    })?;
    session.finish(|report| {
        report.write_gap_bar(WRITE_GAP_BAR_MS * options.slack);
        report.no_error_bar();
        report.no_rebalance_bar();
    })
}
