//! `all`: every fault that the machine allows, once each round, in an order drawn from the seed, with quiet in
//! between and every kind of client at work.

use anyhow::{Result, ensure};
use rand::seq::SliceRandom as _;

use super::load::Cast;
use super::session::Session;
use super::{Report, RunOptions, Screen};
use crate::faults::{CATALOGUE, Entry, Need};

/// Size of a node's volume.
const VOLUME_MIB: u64 = 512;

/// Which of the faults.
#[derive(Clone, Debug, clap::Args)]
pub struct Choice {
    /// Only these, as in kill-leader,cut-off.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = name())]
    only: Vec<String>,
    /// No more than so many each round, drawn from the seed.
    #[arg(long, value_name = "K")]
    at_most: Option<usize>,
}

fn name() -> clap::builder::PossibleValuesParser {
    CATALOGUE.map(|entry| entry.name).into()
}

impl Choice {
    /// The command that makes it.
    fn repeat(&self) -> String {
        let mut command = "all".to_owned();
        if !self.only.is_empty() {
            command += &format!(" --only {}", self.only.join(","));
        }
        if let Some(count) = self.at_most {
            command += &format!(" --at-most {count}");
        }
        command
    }

    fn includes(&self, entry: &Entry) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == entry.name)
    }
}

/// Runs it.
///
/// # Errors
/// The cluster does not start, does not resume, or cannot be read back.
pub fn all(options: &RunOptions, choice: &Choice, screen: &Screen) -> Result<Report> {
    let mut possible = possible(screen);
    possible.retain(|entry| choice.includes(entry));
    ensure!(!possible.is_empty(), "no fault is left");
    let missing = |need: Need| need.missing().is_some();
    let cast = Cast {
        hosts: !missing(Need::Hosts),
        volume_mib: (!missing(Need::Volumes)).then_some(VOLUME_MIB),
        ..Cast::ALL
    };
    let session = Session::begin(&choice.repeat(), options, cast, screen)?;
    let (session, ()) = session.attempt(|session| {
        for _ in 0..options.rounds {
            let mut order = possible.clone();
            order.shuffle(session.rng());
            for entry in order.iter().take(choice.at_most.unwrap_or(usize::MAX)) {
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
