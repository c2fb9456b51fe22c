//! `all`: every fault that the machine allows, once each round, in an order drawn from the seed, with quiet in
//! between and every kind of client at work.

use anyhow::Result;
use rand::seq::SliceRandom as _;

use super::load::{Cast, Crew, IMPATIENT};
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::{CATALOGUE, Entry, Need};

/// Size of a node's volume.
const VOLUME_MIB: u64 = 512;

/// Runs it; of each round's faults no more than `faults_max`.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn all(options: &RunOptions, faults_max: usize, screen: &Screen) -> Result<Report> {
    let possible = possible(screen);
    let missing = |need: Need| need.missing().is_some();
    let cast = Cast {
        crew: Crew::All,
        producer: IMPATIENT,
        member: &[("socket.timeout.ms", "2000")],
        hosts: !missing(Need::Hosts),
        volume_mib: (!missing(Need::Volumes)).then_some(VOLUME_MIB),
        ..Cast::STEADY
    };
    let session = Session::begin("all", options, cast, screen)?;
    let (session, ()) = session.attempt(|session| {
        for _ in 0..options.rounds {
            let mut order = possible.clone();
            order.shuffle(session.rng());
            for entry in order.iter().take(faults_max) {
                let mut fault = session.draw(entry);
                session.round(fault.as_mut())?;
            }
        }
        session.quiet()
    })?;
    session.finish(|_| {})
}

/// The faults that the machine allows; says which it does not, and why.
fn possible(screen: &Screen) -> Vec<Entry> {
    let mut possible = CATALOGUE.to_vec();
    for need in Need::ALL {
        let Some(missing) = need.missing() else { continue };
        let (without, with): (Vec<Entry>, Vec<Entry>) =
            possible.into_iter().partition(|entry| !entry.needs.contains(&need));
        let names: Vec<&str> = with.iter().map(|entry| entry.name).collect();
        screen.done(format!("skipped for want of {missing}: {}", names.join(", ")));
        possible = without;
    }
    screen.done(format!("{} kinds of faults", possible.len()));
    possible
}
