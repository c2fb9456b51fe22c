//! A process per seed, some at a time.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::cli::{Arguments, new_folder};
use crate::mutants::VARIABLE;

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(20);
/// Seeds that are easy to type.
const SEED_MAX: u64 = 1_000_000_000;
/// A seed that runs for so long hangs.
const SEED_TIME_MAX: Duration = Duration::from_secs(600);

/// What became of a seed.
pub(crate) struct Ended {
    pub(crate) seed: u64,
    pub(crate) passed: bool,
    /// What it printed.
    pub(crate) said: String,
}

struct Running {
    seed: u64,
    child: Child,
    begun: Instant,
    /// Removed when the process has ended, however it did.
    _folder: TempDir,
}

/// Runs the seeds; whether all passed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let first = arguments.first.unwrap_or_else(|| rand::random_range(0..SEED_MAX));
    let count = arguments.seeds.max(1);
    println!("seeds {first} to {}, {} at a time", first + count - 1, jobs(arguments));
    let begun = Instant::now();
    let mut failed = Vec::new();
    each(arguments, None, first..first + count, |ended| {
        if !ended.passed {
            print!("{}", ended.said);
            println!("  again: {}", again(ended.seed, arguments));
            failed.push(ended.seed);
        }
        true
    })?;
    let passed = count - failed.len() as u64;
    println!("{passed} of {count} seeds passed in {:.0} s", begun.elapsed().as_secs_f64());
    if !failed.is_empty() {
        println!("failed: {failed:?}");
    }
    Ok(failed.is_empty())
}

/// Runs seeds, as many at a time as `arguments` say, with a mutant if there is one, until `take` has enough.
pub(crate) fn each(
    arguments: &Arguments,
    mutant: Option<&str>,
    seeds: impl IntoIterator<Item = u64>,
    mut take: impl FnMut(Ended) -> bool,
) -> Result<()> {
    let mut waiting = seeds.into_iter();
    let mut running: Vec<Running> = Vec::new();
    let mut goes_on = true;
    loop {
        while goes_on
            && running.len() < jobs(arguments)
            && let Some(seed) = waiting.next()
        {
            let folder = new_folder()?;
            let child = spawn(seed, mutant, &folder, arguments)?;
            running.push(Running { seed, child, begun: Instant::now(), _folder: folder });
        }
        if running.is_empty() {
            return Ok(());
        }
        let mut still = Vec::new();
        for mut one in running {
            let hangs = one.begun.elapsed() > SEED_TIME_MAX;
            if hangs || !goes_on {
                one.child.kill()?;
            }
            if !hangs && goes_on && one.child.try_wait()?.is_none() {
                still.push(one);
                continue;
            }
            let output = one.child.wait_with_output()?;
            let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
            said.push_str(&String::from_utf8_lossy(&output.stderr));
            if hangs {
                said.push_str(&format!("seed {} hangs\n", one.seed));
            }
            let passed = output.status.success();
            goes_on = goes_on && take(Ended { seed: one.seed, passed, said });
        }
        running = still;
        std::thread::sleep(LOOK);
    }
}

fn jobs(arguments: &Arguments) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    arguments.jobs.unwrap_or_else(processors).max(1)
}

fn spawn(
    seed: u64,
    mutant: Option<&str>,
    folder: &TempDir,
    arguments: &Arguments,
) -> Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string(), "--filter", &arguments.filter]);
    command.arg("--folder").arg(folder.path());
    if arguments.calm {
        command.arg("--calm");
    }
    if let Some(mutant) = mutant {
        command.env(VARIABLE, mutant);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("starting a seed's process")
}

fn again(seed: u64, arguments: &Arguments) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "jackdaw-sim".to_owned());
    let calm = if arguments.calm { " --calm" } else { "" };
    format!("{program} --seed {seed}{calm} --trace trace.log")
}
