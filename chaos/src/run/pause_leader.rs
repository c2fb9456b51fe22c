//! `pause-leader`: how long writes stand still when the busiest leader is stopped, time after time; it wakes
//! up as a leader of the past.

use anyhow::Result;

use super::load::{Cast, Crew, IMPATIENT};
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, SILENCE_BAR_MS, Screen};
use crate::faults::PauseLeader;

/// A stopped process keeps its connections, so that a client waits for its own time-out before it asks who
/// leads now; the member's must be longer than a fetch waits.
const CAST: Cast = Cast {
    crew: Crew::Few,
    producer: IMPATIENT,
    member: &[("socket.timeout.ms", "2000")],
    ..Cast::STEADY
};

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn pause_leader(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("pause-leader", options, CAST, screen)?;
    let (session, ()) = session.attempt(|session| session.rounds(&mut PauseLeader::of(TOPIC)))?;
    session.finish(|report| report.write_gap_p99_bar(SILENCE_BAR_MS * options.slack))
}
