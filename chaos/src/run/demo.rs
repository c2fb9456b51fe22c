//! `demo`: one leader kill, told step by step.

use anyhow::Result;

use super::leader_kill::WRITE_GAP_BAR_MS;
use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, Screen};
use crate::faults::KillLeader;

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn demo(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("demo", options, Cast::ONE_PRODUCER, screen)?;
    screen.done(format!(
        "an idempotent producer at acks=all writes {} records/s to 6 partitions × 3 replicas",
        options.rate_per_s
    ));
    let (session, ()) = session.attempt(|session| {
        screen.done("kill -9 of the node that leads most partitions");
        session.round(&mut KillLeader::of(TOPIC))?;
        session.quiet()
    })?;
    session.finish(|report| {
        for fault in &report.faults {
            screen.done(format!(
                "write gap {:.0} ms (bar {WRITE_GAP_BAR_MS:.0} ms)",
                fault.write_gap_ms.unwrap_or_default()
            ));
        }
        report.write_gap_bar(WRITE_GAP_BAR_MS * options.slack);
    })
}
