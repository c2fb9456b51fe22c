//! `failover`: how long writes stand still when the busiest leader dies, time after time.

use anyhow::Result;

use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, Screen};
use crate::faults::KillLeader;

/// Median, 99 of 100 and largest write gap, ms.
const WRITE_GAPS_BAR_MS: [f64; 3] = [250.0, 500.0, 1000.0];

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn failover(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("failover", options, Cast::STEADY, screen)?;
    let (session, ()) = session.attempt(|session| session.rounds(&mut KillLeader::of(TOPIC)))?;
    session.finish(|report| {
        report.write_gaps_bar(WRITE_GAPS_BAR_MS.map(|bar| bar * options.slack));
    })
}
