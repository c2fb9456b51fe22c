//! `pause-leader`: the busiest leader is stopped and wakes up as a leader of the past.

use anyhow::Result;

use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, Screen};
use crate::faults::PauseLeader;

/// A stopped process keeps its connections, so that a client waits for its own time-out before it
/// asks who leads now; by librdkafka's default that takes a minute.
const IMPATIENT: Cast = Cast {
    // The first is a producer's, and ignored by the consumer.
    settings: &[("request.timeout.ms", "1000"), ("socket.timeout.ms", "2000")],
    ..Cast::FULL
};
/// The bar of a dead leader and the client's time-out, ms.
const WRITE_GAP_BAR_MS: f64 = 5000.0;

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn pause_leader(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("pause-leader", options, IMPATIENT, screen)?;
    let (session, ()) = session.attempt(|session| session.rounds(&mut PauseLeader::of(TOPIC)))?;
    session.finish(|report| report.write_gap_bar(WRITE_GAP_BAR_MS * options.slack))
}
