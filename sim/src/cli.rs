//! Arguments, and how a run is reported.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::run::{self, Verdict};
use crate::setup::Setup;
use crate::{clock, entropy, mutants, parent, trace};

/// Runs simulated clusters by seed and checks what their clients saw.
#[derive(Debug, Parser)]
#[command(name = "jackdaw-sim", version)]
pub(crate) struct Arguments {
    /// How many seeds to run, a process each
    #[arg(long, default_value_t = 60, conflicts_with = "seed")]
    pub(crate) seeds: u64,
    /// The first of them; drawn anew if not given
    #[arg(long, conflicts_with = "seed")]
    pub(crate) first: Option<u64>,
    /// Processes at a time; as many as there are processors if not given
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Runs this seed alone, here
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Ends after so many ms of simulated time, without a verdict: for the trace alone
    #[arg(long, value_name = "MS")]
    pub(crate) until: Option<u64>,
    /// Without faults
    #[arg(long)]
    pub(crate) calm: bool,
    /// Puts known bugs back, one at a time; each has to be found within 150 seeds
    #[arg(long, conflicts_with = "seed")]
    pub(crate) mutants: bool,
    /// Only this one of them
    #[arg(long, requires = "mutants", value_name = "NAME")]
    pub(crate) mutant: Option<String>,
    /// What is traced
    #[arg(long, default_value = "info,openraft=off")]
    pub(crate) filter: String,
    /// Where the nodes' data goes, which whoever gives it removes; a new folder if not given
    #[arg(long, hide = true)]
    pub(crate) folder: Option<PathBuf>,
    /// Writes the trace of a single seed into a file
    #[arg(long)]
    pub(crate) trace: Option<PathBuf>,
}

/// The process's whole life.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None if arguments.mutants => mutants::run(&arguments),
        None => parent::run(&arguments),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("jackdaw-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Where files are in memory, on most machines.
const SHARED_MEMORY: &str = "/dev/shm";

/// A new folder for the nodes' data, in memory if possible.
pub(crate) fn new_folder() -> Result<tempfile::TempDir> {
    let memory = PathBuf::from(SHARED_MEMORY);
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix("jackdaw-sim-").tempdir_in(place)?)
}

/// Of the thread that all nodes share.
const STACK_BYTES: usize = 64 << 20;

/// Runs a seed in this process; whether it passed.
fn one(seed: u64, arguments: &Arguments) -> Result<bool> {
    trace::begin(&arguments.filter, arguments.trace.as_deref())?;
    let (folder, own) = match &arguments.folder {
        Some(folder) => (folder.clone(), None),
        None => {
            let own = new_folder()?;
            (own.path().to_owned(), Some(own))
        }
    };
    // Paths that nodes tell of are the same in every run.
    std::env::set_current_dir(&folder)?;
    let begun = std::time::Instant::now();
    entropy::turn_on(seed);
    clock::turn_on();
    fail_on_panic(seed, own.as_ref().map(|own| own.path().to_owned()));
    let until = arguments.until;
    let setup = Setup::draw(seed, !arguments.calm);
    // Whatever was drawn before the seed counted, as the keys of maps are once per thread, stays behind.
    let simulation = std::thread::Builder::new().stack_size(STACK_BYTES);
    let simulation = simulation.spawn(move || run::run(&setup, until))?;
    let ended = simulation.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    drop(own);
    trace::flush();
    let wall = clock::real_since(begun);
    let verdict = ended?;
    report(seed, &verdict, wall);
    Ok(verdict.findings.is_empty())
}

/// A panic anywhere is a finding: tasks would hide it.
fn fail_on_panic(seed: u64, own: Option<PathBuf>) {
    std::panic::set_hook(Box::new(move |panic| {
        trace::flush();
        if let Some(own) = &own {
            // The process ends without dropping it.
            drop(std::fs::remove_dir_all(own));
        }
        eprintln!("seed {seed}: at {} ms: {panic}", clock::now_us() / 1_000);
        std::process::exit(1);
    }));
}

fn report(seed: u64, verdict: &Verdict, wall: std::time::Duration) {
    let (hash, lines) = trace::summary();
    let word = if verdict.findings.is_empty() { "passed" } else { "FAILED" };
    println!(
        "seed {seed} {word}: {} acknowledged, {} unknown, {} faults, {:.1} s, trace {hash:016x} of {lines} lines",
        verdict.acknowledged,
        verdict.unknown,
        verdict.faults,
        wall.as_secs_f64()
    );
    for (what, count) in &verdict.oddities {
        println!("  odd, {count} times: {what}");
    }
    for finding in &verdict.findings {
        println!("  {finding}");
    }
}
