//! `storm`: power cuts and deaths of leaders in quick succession, in an order drawn from the seed.

use anyhow::Result;
use rand::seq::SliceRandom as _;

use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, Screen};
use crate::faults::{Fault, KillLeader, PowerCut};

const CAST: Cast = Cast { volume_mib: Some(512), ..Cast::ALL };
/// Of each round; six rounds in an hour would make 24 power cuts and more than 50 kills.
const POWER_CUTS: usize = 4;
const KILLS: usize = 9;

/// Runs it.
///
/// # Errors
/// Without root; the cluster does not start, does not resume, or cannot be read back.
pub fn storm(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin("storm", options, CAST, screen)?;
    let (session, ()) = session.attempt(|session| {
        for _ in 0..options.rounds {
            let mut order = [false; POWER_CUTS + KILLS];
            order[..POWER_CUTS].fill(true);
            order.shuffle(session.rng());
            // One node, two, … all, one, …
            let mut hit = 0;
            for cut in order {
                let mut fault: Box<dyn Fault> = if cut {
                    hit = hit % options.nodes + 1;
                    Box::new(PowerCut::of_nodes(session.pick_nodes(hit), options.nodes))
                } else {
                    Box::new(KillLeader::of(TOPIC))
                };
                session.round(fault.as_mut())?;
            }
        }
        session.quiet()
    })?;
    session.finish(|_| {})
}
