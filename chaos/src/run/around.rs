//! `run`: a fresh cluster around somebody else's command.

use std::ffi::OsString;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{RunOptions, Screen};
use crate::cluster::{Cluster, ClusterOptions, Folder};

const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Starts a cluster, runs `command` with `JACKDAW_BOOTSTRAP`, `JACKDAW_BIN` and `JACKDAW_FOLDER` in
/// its environment, and stops the nodes, each of which must end cleanly.
///
/// # Errors
/// The cluster does not start or stop, or the command cannot be run.
pub fn around(options: &RunOptions, command: &[OsString], screen: &Screen) -> Result<ExitStatus> {
    let folder = Folder::TemporaryIn(options.folder.clone());
    let cluster =
        ClusterOptions { folder, ..ClusterOptions::new(options.nodes, options.binary.clone()) };
    let mut cluster = Cluster::prepare(&cluster)?;
    let ended = inside(&mut cluster, options, command, screen);
    let well = ended.as_ref().is_ok_and(ExitStatus::success);
    if options.keep || !well {
        eprintln!("kept: {}", cluster.keep().display());
    }
    ended
}

fn inside(
    cluster: &mut Cluster,
    options: &RunOptions,
    command: &[OsString],
    screen: &Screen,
) -> Result<ExitStatus> {
    cluster.start_all()?;
    let ready = cluster.wait_ready(START_DEADLINE)?;
    screen.done(format!("{} nodes ready after {} ms", options.nodes, ready.as_millis()));
    let (program, arguments) = command.split_first().context("there is no command to run")?;
    let ended = Command::new(program)
        .args(arguments)
        .env("JACKDAW_BOOTSTRAP", cluster.bootstrap())
        .env("JACKDAW_BIN", &options.binary)
        .env("JACKDAW_FOLDER", cluster.folder())
        .status()
        .with_context(|| format!("running {}", program.display()))?;
    cluster.stop_all(STOP_DEADLINE)?;
    Ok(ended)
}
