//! `hibernation`: the leader of idle partitions is cut off from the other nodes, and only then they are
//! written to.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng as _;
use rand::seq::SliceRandom as _;

use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, SILENCE_BAR_MS, Screen};
use crate::cluster::NodeId;
use crate::faults::{CutOff, CutPair, Direction, Fault};
use crate::workload::{DirectProducer, Witness};

const CAST: Cast = Cast { hosts: true, ..Cast::STEADY };
/// Partitions written to while something is cut, and others after the heal.
const CUT: usize = 4;
const HEALED: usize = 4;
/// Bound on waiting for a write; the bar is held against the measured time.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);
/// How long the partitions are idle, and how long after the cut they are written to, ms.
const IDLE_MS: std::ops::Range<u64> = 200..2000;
const CUT_MS: std::ops::Range<u64> = 0..1000;

/// Runs it.
///
/// # Errors
/// Without root; the cluster does not start, a partition takes no writes, or it cannot be read back.
pub fn hibernation(options: &RunOptions, screen: &Screen) -> Result<Report> {
    let session = Session::begin_idle("hibernation", options, CAST, screen)?;
    let (session, ()) = session.attempt(|session| {
        let brokers = session.brokers();
        let addresses = brokers.iter().map(|(_, address)| *address).collect();
        let recorder = Arc::clone(session.recorder());
        let mut producer = DirectProducer::start(addresses, TOPIC, "w0", recorder)?;
        let all: Vec<i32> = (0..CAST.partitions).collect();
        producer.write(&all, WRITE_DEADLINE)?;
        for _ in 0..options.rounds {
            session.wait_idle(IDLE_MS)?;
            let witness =
                Witness::start(brokers.clone(), TOPIC, CAST.partitions, session.recorder())?;
            round(session, &mut producer)?;
            witness.finish()?;
        }
        Ok(())
    })?;
    session.finish(|report| report.wait_bar(SILENCE_BAR_MS * options.slack))
}

/// Cuts the leader of a partition off, one way or another, and writes to that partition and to others.
fn round(session: &mut Session<'_>, producer: &mut DirectProducer) -> Result<()> {
    let mut partitions: Vec<i32> = (0..CAST.partitions).collect();
    partitions.shuffle(session.rng());
    let (written, later) = partitions.split_at(CUT);
    let leader = session.leader(written[0])?;
    let mut fault = draw(session, leader)?;
    let pause = session.rng().random_range(CUT_MS);
    session.under(fault.as_mut(), |_, _, _| {
        thread::sleep(Duration::from_millis(pause));
        producer.write(written, WRITE_DEADLINE).map(|_| ())
    })?;
    producer.write(&later[..HEALED], WRITE_DEADLINE)?;
    Ok(())
}

fn draw(session: &mut Session<'_>, leader: NodeId) -> Result<Box<dyn Fault>> {
    let others: Vec<NodeId> = session.node_ids().into_iter().filter(|id| *id != leader).collect();
    let rng = session.rng();
    Ok(match rng.random_range(0..4) {
        0 => Box::new(CutOff::of(leader, Direction::Outgoing)),
        1 => Box::new(CutOff::of(leader, Direction::Incoming)),
        2 => Box::new(CutOff::of(leader, Direction::Both)),
        _ => {
            let other = others.get(rng.random_range(0..others.len()));
            Box::new(CutPair::of(leader, *other.context("a cluster of one node")?))
        }
    })
}
