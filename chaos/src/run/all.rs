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
    let wanted = CATALOGUE.into_iter().filter(|entry| choice.includes(entry)).collect();
    let (possible, there) = possible(wanted, screen);
    ensure!(!possible.is_empty(), "no fault is left");
    let cast = Cast {
        hosts: there.contains(&Need::Hosts),
        volume_mib: there.contains(&Need::Volumes).then_some(VOLUME_MIB),
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

/// Those that the machine allows, and what it has; says which it does not, and why.
fn possible(mut entries: Vec<Entry>, screen: &Screen) -> (Vec<Entry>, Vec<Need>) {
    let mut there = Vec::new();
    for need in Need::ALL {
        match need.check() {
            Ok(()) => there.push(need),
            Err(error) => {
                let (without, with): (Vec<Entry>, Vec<Entry>) =
                    entries.into_iter().partition(|entry| !entry.needs.contains(&need));
                let names: Vec<&str> = with.iter().map(|entry| entry.name).collect();
                screen.done(format!("skipped: {}: {error:#}", names.join(", ")));
                entries = without;
            }
        }
    }
    screen.done(format!("{} kinds of faults", entries.len()));
    (entries, there)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn a_choice_repeats_itself() {
        let command = Choice::augment_args(Command::new("all"));
        let given = "all --only kill-leader,cut-off --at-most 1";
        let matches = command.clone().try_get_matches_from(given.split(' ')).unwrap();
        let choice = Choice::from_arg_matches(&matches).unwrap();
        assert_eq!(choice.repeat(), given);
        let names = CATALOGUE.iter().filter(|entry| choice.includes(entry));
        assert!(names.map(|entry| entry.name).eq(["kill-leader", "cut-off"]));
        assert!(command.try_get_matches_from(["all", "--only", "kill-ledaer"]).is_err());
    }
}
