//! A process per seed, some at a time.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cli::Arguments;

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(20);
/// Seeds that are easy to type.
const SEED_MAX: u64 = 1_000_000_000;
/// A seed that runs for so long hangs.
const SEED_TIME_MAX: Duration = Duration::from_secs(600);

struct Running {
    seed: u64,
    child: Child,
    begun: Instant,
}

/// Runs the seeds; whether all passed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let first = arguments.first.unwrap_or_else(|| rand::random_range(0..SEED_MAX));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(processors).max(1);
    println!("seeds {first} to {}, {jobs} at a time", first + arguments.seeds.max(1) - 1);
    let begun = Instant::now();
    let mut waiting: VecDeque<u64> = (first..first + arguments.seeds).collect();
    let mut running: Vec<Running> = Vec::new();
    let (mut passed, mut failed) = (0, Vec::new());
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < jobs
            && let Some(seed) = waiting.pop_front()
        {
            let child = spawn(seed, arguments)?;
            running.push(Running { seed, child, begun: Instant::now() });
        }
        let mut still = Vec::new();
        for mut one in running {
            match one.child.try_wait()? {
                None if one.begun.elapsed() > SEED_TIME_MAX => {
                    one.child.kill()?;
                    one.child.wait()?;
                    println!("seed {} hangs", one.seed);
                    failed.push(one.seed);
                }
                None => still.push(one),
                Some(status) => {
                    let output = one.child.wait_with_output()?;
                    if status.success() {
                        passed += 1;
                    } else {
                        print!("{}", String::from_utf8_lossy(&output.stdout));
                        print!("{}", String::from_utf8_lossy(&output.stderr));
                        println!("  again: {}", again(one.seed, arguments));
                        failed.push(one.seed);
                    }
                }
            }
        }
        running = still;
        std::thread::sleep(LOOK);
    }
    println!(
        "{passed} of {} seeds passed in {:.0} s",
        arguments.seeds,
        begun.elapsed().as_secs_f64()
    );
    if !failed.is_empty() {
        println!("failed: {failed:?}");
    }
    Ok(failed.is_empty())
}

fn spawn(seed: u64, arguments: &Arguments) -> Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string(), "--filter", &arguments.filter]);
    if arguments.calm {
        command.arg("--calm");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("starting a seed's process")
}

fn again(seed: u64, arguments: &Arguments) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "jackdaw-sim".to_owned());
    let calm = if arguments.calm { " --calm" } else { "" };
    format!("{program} --seed {seed}{calm} --trace trace.log")
}
