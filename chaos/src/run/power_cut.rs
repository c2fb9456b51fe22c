//! `power-cut`: the power of one node, of a majority, of all nodes goes under load.

use anyhow::Result;

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::cluster::NodeId;
use crate::faults::PowerCut;

/// Each node's data on a volume of its own.
const ON_VOLUMES: Cast = Cast { volume_mib: Some(512), ..Cast::FULL };
/// From the start of the processes until all nodes are ready, ms.
const READY_BAR_MS: f64 = 5000.0;

/// Runs it.
///
/// # Errors
/// Without root; the cluster does not start, does not resume, or cannot be read back.
pub fn power_cut(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("power-cut", options, ON_VOLUMES, screen)?;
    let nodes = options.nodes;
    let (session, ()) = session.attempt(|session| {
        for round in 0..options.rounds as usize {
            // One, a majority, all, one, …; which ones is drawn from the seed.
            let count = [1, nodes / 2 + 1, nodes][round % 3];
            let hit: Vec<NodeId> = session.pick_nodes(count);
            session.round(&mut PowerCut::of_nodes(hit, nodes))?;
        }
        session.quiet()
    })?;
    session.finish(|report| report.ready_bar(READY_BAR_MS * options.slack))
}
