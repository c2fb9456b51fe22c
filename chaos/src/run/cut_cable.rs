//! `cut-cable`: how long writes stand still when the busiest leader's cable is pulled, time after time.

use anyhow::Result;

use super::load::{Cast, IMPATIENT};
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, SILENCE_BAR_MS, Screen};
use crate::faults::CutCable;

const CAST: Cast = Cast { hosts: true, producer: IMPATIENT, ..Cast::STEADY };

/// Runs it.
///
/// # Errors
/// Without root; the cluster does not start, does not resume, or cannot be read back.
pub fn cut_cable(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("cut-cable", options, CAST, screen)?;
    let (session, ()) = session.attempt(|session| session.rounds(&mut CutCable::of(TOPIC)))?;
    session.finish(|report| report.write_gap_p99_bar(SILENCE_BAR_MS * options.slack))
}
