//! `kill-all`: every node dies at the same moment under load, with a consumer group at work.

use std::time::Duration;

use anyhow::Result;

use super::session::{Session, TOPIC, partitions};
use super::{Report, RunOptions, Screen};
use crate::faults::KillAll;
use crate::workload::{GroupConsumer, GroupOptions, read_committed};

const GROUP: &str = "chaos-group";
/// From the start of the processes until all nodes are ready, ms.
const READY_BAR_MS: f64 = 5000.0;
/// Bound on waiting for the group: a join, and the client's own time-outs after a dead coordinator.
const GROUP_DEADLINE: Duration = Duration::from_secs(90);
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn kill_all(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("kill-all", options, screen)?;
    let (session, ()) = session.attempt(|session| {
        let group = GroupConsumer::start(
            GroupOptions {
                bootstrap: session.cluster.bootstrap(),
                topic: TOPIC.to_owned(),
                group: GROUP.to_owned(),
                name: "member".to_owned(),
                commit_interval: COMMIT_INTERVAL,
            },
            session.recorder.clone(),
        )?;
        for _ in 0..options.rounds {
            session.screen.doing("the group commits");
            group.wait_commits(3, GROUP_DEADLINE)?;
            session.round(&mut KillAll)?;
            session.screen.doing("reading committed offsets");
            committed(session)?;
        }
        group.wait_commits(1, GROUP_DEADLINE)?;
        session.screen.done("the group commits on after the last restart");
        group.finish()?;
        committed(session)?;
        session.quiet()
    })?;
    session.finish(|report| report.ready_bar(READY_BAR_MS * options.slack))
}

/// Records the group's offsets for the checker that compares them with what was acknowledged.
fn committed(session: &Session<'_>) -> Result<()> {
    let bootstrap = session.cluster.bootstrap();
    let recorder = &session.recorder;
    let found = read_committed(&bootstrap, TOPIC, GROUP, &partitions(), recorder, GROUP_DEADLINE)?;
    session.screen.done(format!("committed offsets of the group: {:?}", found.values()));
    Ok(())
}
