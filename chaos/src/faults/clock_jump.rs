//! A node's wall clock jumps while it runs, and jumps back.
//!
//! The clock is libfaketime's, which is loaded into the node's process: it is restarted for that, and again at
//! the end. The machine's clock stays as it is.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Fault, Need, START_DEADLINE, STOP_DEADLINE, Victim};
use crate::cluster::{Cluster, NodeId};

/// After so long libfaketime looks at its file again.
const CACHED: Duration = Duration::from_secs(1);

/// See the file's head. Needs libfaketime.
#[derive(Clone, Debug)]
pub struct ClockJump {
    victim: Victim,
    seconds: i64,
    hit: Option<(NodeId, PathBuf)>,
}

impl ClockJump {
    /// Of this node's clock, by so much.
    #[must_use]
    pub fn of(victim: Victim, seconds: i64) -> Self {
        Self { victim, seconds, hit: None }
    }
}

impl Fault for ClockJump {
    fn name(&self) -> &'static str {
        if self.seconds < 0 { "clock-back" } else { "clock-ahead" }
    }

    fn nodes_may_lead(&self) -> bool {
        true
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let library = Need::faketime()?;
        let victim = self.victim.find(cluster)?;
        let offset = cluster.node(victim).folder().join("clock");
        fs::write(&offset, "+0\n")?;
        let seconds = CACHED.as_secs().to_string();
        let environment = [
            ("LD_PRELOAD", library.into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", offset.clone().into_os_string()),
            ("FAKETIME_CACHE_DURATION", OsString::from(seconds)),
            ("FAKETIME_DONT_FAKE_MONOTONIC", OsString::from("1")),
        ];
        let environment = environment.map(|(name, value)| (OsString::from(name), value));
        restart(cluster, victim, environment.to_vec())?;
        set(&offset, self.seconds)?;
        self.hit = Some((victim, offset));
        Ok(vec![victim])
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        let (victim, offset) = self.hit.take().context("the fault has not begun")?;
        set(&offset, 0)?;
        restart(cluster, victim, Vec::new())
    }
}

fn set(offset: &PathBuf, seconds: i64) -> Result<()> {
    fs::write(offset, format!("{seconds:+}\n"))?;
    thread::sleep(CACHED);
    Ok(())
}

fn restart(
    cluster: &mut Cluster,
    id: NodeId,
    environment: Vec<(OsString, OsString)>,
) -> Result<()> {
    let node = cluster.node_mut(id);
    let status = node.terminate(STOP_DEADLINE)?;
    ensure!(status.success(), "node {id} ended with {status}");
    node.set_environment(environment);
    node.start()?;
    node.wait_ready(START_DEADLINE).map(drop)
}
