//! `controller-kill`: the metadata leader dies: topics can soon be made again, and groups do not notice.

use anyhow::Result;

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::KillController;

/// From the leader's death to a topic made, ms.
const CREATION_BAR_MS: f64 = 1000.0;

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn controller_kill(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("controller-kill", options, Cast::FULL, screen)?;
    let (session, creations) = session.attempt(|session| {
        let mut fault = KillController::default();
        session.rounds(&mut fault)?;
        Ok(fault.creations)
    })?;
    for time in &creations {
        screen.done(format!("a topic was made {:.0} ms after the death", time.as_secs_f64() * 1e3));
    }
    session.finish(|report| {
        for time in creations {
            let ms = time.as_secs_f64() * 1e3;
            report.bar(
                "topic made after the metadata leader's death",
                ms,
                CREATION_BAR_MS * options.slack,
            );
        }
        report.no_rebalance_bar();
    })
}
