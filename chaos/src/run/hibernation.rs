//! `hibernation`: the leader of idle partitions is cut off from the other nodes, and only then they are
//! written to.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::load::Cast;
use super::session::{Session, TOPIC};
use super::{Report, RunOptions, SILENCE_BAR_MS, Screen};
use crate::cluster::NodeId;
use crate::faults::{CutAll, CutOff, CutPair, Direction, Fault, Victim};
use crate::workload::{DirectProducer, Witness};

const CAST: Cast = Cast { hosts: true, ..Cast::STEADY };
/// Partitions written to while something is cut, and others after the heal.
const WRITTEN: usize = 4;
/// Between two requests of the witness to a node.
const ASKED_AGAIN: Duration = Duration::from_millis(10);
/// Bound on waiting for a write; the bar is held against the measured time.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);
/// How long the partitions are idle, ms.
const IDLE_MS: Range<u64> = 200..2000;
/// From a cut to writes, ms: around the time after which a silent node is dead.
const UNTIL_WRITES_MS: Range<u64> = 0..700;
/// How long no majority can talk, ms.
const WITHOUT_MAJORITY_MS: Range<u64> = 500..6000;

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
            let witness = Witness::start(
                brokers.clone(),
                TOPIC,
                CAST.partitions,
                ASKED_AGAIN,
                session.recorder(),
            )?;
            round(session, &mut producer)?;
            witness.finish()?;
        }
        Ok(())
    })?;
    session.finish(|report| report.wait_bar(SILENCE_BAR_MS * options.slack))
}

/// Cuts the leader of a partition off, one way or another, and writes to that partition and to others; heals,
/// and writes at once to those that have been idle meanwhile.
fn round(session: &mut Session<'_>, producer: &mut DirectProducer) -> Result<()> {
    let mut partitions: Vec<i32> = (0..CAST.partitions).collect();
    partitions.shuffle(session.rng());
    let (during, after) = partitions.split_at(WRITTEN);
    let leader = session.leader(during[0])?;
    let mut fault = draw(session, leader)?;
    session.break_with(fault.as_mut())?;
    if fault.majority_survives() {
        pause(session, UNTIL_WRITES_MS);
        producer.write(during, WRITE_DEADLINE)?;
    } else {
        pause(session, WITHOUT_MAJORITY_MS);
    }
    session.heal(fault.as_mut(), |_| {
        producer.write(&after[..WRITTEN], WRITE_DEADLINE)?;
        Ok(())
    })?;
    Ok(())
}

/// A time drawn from the seed, ms.
fn pause(session: &mut Session<'_>, ms: Range<u64>) {
    thread::sleep(Duration::from_millis(session.rng().random_range(ms)));
}

fn draw(session: &mut Session<'_>, leader: NodeId) -> Result<Box<dyn Fault>> {
    let others: Vec<NodeId> = session.node_ids().into_iter().filter(|id| *id != leader).collect();
    let rng = session.rng();
    Ok(match rng.random_range(0..5) {
        0 => Box::new(CutOff::of(Victim::Node(leader), Direction::Outgoing)),
        1 => Box::new(CutOff::of(Victim::Node(leader), Direction::Incoming)),
        2 => Box::new(CutOff::of(Victim::Node(leader), Direction::Both)),
        3 => Box::new(CutAll),
        _ => {
            let other = others.choose(rng).context("a cluster of one node")?;
            Box::new(CutPair::of(leader, *other))
        }
    })
}
