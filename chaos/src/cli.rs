//! Arguments, output and exit codes of `jackdaw-chaos`.
//!
//! **Invariant:** the exit code is 0 only when every invariant held and every bar was met: 1 when
//! one was not, 2 when the run could not be judged.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::checkers::Expectation;
use crate::cluster::find_binary;
use crate::history::History;
use crate::page::page;
use crate::run::{
    Choice, Report, RunOptions, STEADY_RATE_PER_S, Screen, all, around, controller_kill, cut_cable,
    default_folder, demo, disk_full, failover, hibernation, kill_all, leader_kill, pause_leader,
    power_cut, record, rolling_restart, storm,
};

/// What a history must hold so that `check` can say anything; a run knows more.
const CHECKED: Expectation = Expectation { acknowledged_min: 1, acknowledged_in_fault_min: 1 };

/// Starts Jackdaw clusters, breaks them, and checks what clients saw.
#[derive(Debug, Parser)]
#[command(
    name = "jackdaw-chaos",
    version,
    after_help = "Examples:\n  \
        jackdaw-chaos demo                              kill a leader under load and check\n  \
        jackdaw-chaos leader-kill --rounds 5\n  \
        jackdaw-chaos kill-all --seed 7 --rounds 3      the same choices every time\n  \
        jackdaw-chaos pause-leader --json\n  \
        sudo jackdaw-chaos power-cut --rounds 6\n  \
        sudo jackdaw-chaos cut-cable --rounds 10        hosts in namespaces, a leader's cable pulled\n  \
        sudo jackdaw-chaos hibernation --rounds 50\n  \
        sudo jackdaw-chaos all --seed 7 --page report.html\n  \
        jackdaw-chaos run -- sh -c 'kcat -L -b $JACKDAW_BOOTSTRAP'\n  \
        jackdaw-chaos check target/chaos/jackdaw-x/history.jsonl\n\n\
        Exit code: 0 all is well; 1 an invariant or a bar is broken; 2 the run could not be judged."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print the report as JSON, and nothing else.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill the node that leads most partitions while an idempotent producer writes; restart it;
    /// every acknowledged record must be there once and in order, and all replicas equal.
    Demo(RunArguments),
    /// The same, repeated.
    LeaderKill(RunArguments),
    /// Kill the busiest leader of 12 partitions while a producer writes to each every 20 ms; the median,
    /// 99th percentile and largest of the write gaps have bars. Worth at least --rounds 30.
    Failover(RunArguments),
    /// Stop every node (SIGTERM) and start it again, one after the other: no error, no gap of 300 ms, no
    /// rebalance.
    RollingRestart(RunArguments),
    /// Kill the leader of the metadata, which coordinates the groups: a topic can be made a second later, and
    /// no group rebalances.
    ControllerKill(RunArguments),
    /// Kill every node at once under load and restart them; committed group offsets must survive.
    KillAll(RunArguments),
    /// Stop (SIGSTOP) the busiest leader of 12 partitions while producers write to each, every 20 ms, and wake
    /// it once others lead; the 99th percentile of the write gaps has a bar of 2 s.
    PauseLeader(RunArguments),
    /// Pull the cable of the busiest leader, under the load of `failover`, and put it back once others lead; the
    /// 99th percentile of the write gaps has a bar of 2 s. Each node is on a host of its own (a network
    /// namespace); needs root, ip and nft.
    CutCable(RunArguments),
    /// Leave 12 partitions idle, cut the leader of one off from the other nodes, in one direction or both, and
    /// write to them; none waits for 2 s, and no two nodes answer as leaders. Needs what cut-cable needs. Worth
    /// --rounds 50.
    Hibernation(RunArguments),
    /// Fill the disks of all nodes under load, and free them; no process is restarted. Each node's
    /// data lies on a volume of its own; needs root, mkfs.ext4 and loop devices.
    DiskFull(RunArguments),
    /// Cut the power of one node's disk, of a majority's, of all at once under load. Each node's data
    /// lies on a volume of its own; needs root, mkfs.ext4 and loop devices.
    PowerCut(RunArguments),
    /// Every fault that the machine allows, once, in an order drawn from the seed, with all kinds of clients at
    /// work; about 8 minutes. As root the nodes are on hosts and volumes of their own.
    All {
        #[command(flatten)]
        arguments: RunArguments,
        #[command(flatten)]
        choice: Choice,
    },
    /// Four power cuts of one to all nodes and nine kills of leaders, in an order drawn from the seed, with all
    /// kinds of clients at work; needs what power-cut needs.
    Storm {
        #[command(flatten)]
        arguments: RunArguments,
        /// Again and again, each time on a new cluster and with the next seed, until so many hours have passed.
        #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
        hours: f64,
    },
    /// Write to a cluster that runs already and read along while something else breaks it, and check what was
    /// seen. Marks of faults come on standard input, one a line, until it ends: `begin NAME NODE…` if a
    /// majority of the nodes survives, `begin-all NAME NODE…` if not, `end NAME`.
    Record {
        /// Brokers to ask first: HOST:PORT,…
        #[arg(long, value_name = "BROKERS")]
        bootstrap: String,
        /// The file to make.
        #[arg(long, value_name = "FILE")]
        history: PathBuf,
        /// Sends per second.
        #[arg(long, default_value_t = STEADY_RATE_PER_S)]
        rate: u32,
        /// Also write the report as a page.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
    /// Run a command beside a fresh cluster: JACKDAW_BOOTSTRAP, JACKDAW_BIN and JACKDAW_FOLDER tell it
    /// where; exit code 1 if it fails.
    Run {
        #[command(flatten)]
        arguments: RunArguments,
        /// The command and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Apply the checkers to a recorded history.
    Check {
        /// The file, JSON lines.
        history: PathBuf,
        /// Also write the report as a page.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// What random choices are drawn from; a new one each time if absent.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How often the fault is repeated.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3, value_parser = three_or_five)]
    nodes: usize,
    /// Sends per second: 2000 unless the command says otherwise.
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    rate: Option<u32>,
    /// Factor on every bar of time, for machines that are busy with something else too.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    slack: f64,
    /// The jackdaw binary; otherwise the variable JACKDAW_BIN, or the one beside this command.
    #[arg(long, value_name = "FILE")]
    bin: Option<PathBuf>,
    /// Where the run's folder is made: target/chaos if there is a target, or the system's.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Also write the report as a page: one HTML file with a time line.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Keep the run's folder even when all is well.
    #[arg(long)]
    keep: bool,
}

fn three_or_five(text: &str) -> Result<usize, String> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("3 or 5".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok(factor),
        _ => Err("from 1 to 100".to_owned()),
    }
}

impl RunArguments {
    /// The rate of the commands that measure write gaps, unless another is given.
    fn steady(mut self) -> Self {
        self.rate.get_or_insert(STEADY_RATE_PER_S);
        self
    }

    fn options(self) -> Result<RunOptions> {
        make_folder_of(self.page.as_deref())?;
        Ok(RunOptions {
            binary: find_binary(self.bin.as_deref())?,
            folder: self.folder.unwrap_or_else(default_folder),
            keep: self.keep,
            page: self.page,
            nodes: self.nodes,
            rate_per_s: self.rate.unwrap_or(2000),
            // Short enough to be typed.
            seed: self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            rounds: self.rounds,
            slack: self.slack,
        })
    }
}

impl Arguments {
    /// Runs the command and prints what it found.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let passed = match self.command {
            Command::Demo(arguments) => report(demo, arguments, self.json),
            Command::LeaderKill(arguments) => report(leader_kill, arguments, self.json),
            Command::Failover(arguments) => report(failover, arguments.steady(), self.json),
            Command::RollingRestart(arguments) => report(rolling_restart, arguments, self.json),
            Command::ControllerKill(arguments) => report(controller_kill, arguments, self.json),
            Command::KillAll(arguments) => report(kill_all, arguments, self.json),
            Command::PauseLeader(arguments) => report(pause_leader, arguments.steady(), self.json),
            Command::CutCable(arguments) => report(cut_cable, arguments.steady(), self.json),
            Command::Hibernation(arguments) => report(hibernation, arguments, self.json),
            Command::DiskFull(arguments) => report(disk_full, arguments, self.json),
            Command::PowerCut(arguments) => report(power_cut, arguments, self.json),
            Command::All { arguments, choice } => {
                let run = |options: &_, screen: &_| all(options, &choice, screen);
                report(run, arguments.steady(), self.json)
            }
            Command::Storm { arguments, hours } => storms(arguments.steady(), hours, self.json),
            Command::Record { bootstrap, history, rate, page } => {
                let screen = Screen::new(self.json);
                make_folder_of(page.as_deref())
                    .and_then(|()| record(&bootstrap, &history, rate, &screen))
                    .and_then(|found| show(&found.0, &found.1, page.as_deref(), self.json))
            }
            Command::Run { arguments, command } => run_beside(arguments, &command, self.json),
            Command::Check { history, page } => History::read(&history).and_then(|history| {
                let report = Report::of(&history, true, CHECKED);
                show(&report, &history, page.as_deref(), self.json)
            }),
        };
        match passed {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(2)
            }
        }
    }
}

fn report(
    run: impl FnOnce(&RunOptions, &Screen) -> Result<Report>,
    arguments: RunArguments,
    json: bool,
) -> Result<bool> {
    report_of(run, &arguments.options()?, json)
}

fn report_of(
    run: impl FnOnce(&RunOptions, &Screen) -> Result<Report>,
    options: &RunOptions,
    json: bool,
) -> Result<bool> {
    let screen = Screen::new(json);
    screen.done(format!("seed {}", options.seed));
    let report = run(options, &screen)?;
    drop(screen);
    print(&report, json)?;
    Ok(report.passed)
}

/// Storms until the time is over or one has found something.
fn storms(arguments: RunArguments, hours: f64, json: bool) -> Result<bool> {
    let mut options = arguments.options()?;
    let begin = Instant::now();
    loop {
        if !report_of(storm, &options, json)? {
            return Ok(false);
        }
        if begin.elapsed().as_secs_f64() >= hours * 3600.0 {
            return Ok(true);
        }
        options.seed += 1;
    }
}

/// Makes the folder of a file that is written at the end of a long run.
fn make_folder_of(file: Option<&Path>) -> Result<()> {
    if let Some(folder) = file.and_then(Path::parent) {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(())
}

fn show(report: &Report, history: &History, at: Option<&Path>, json: bool) -> Result<bool> {
    if let Some(path) = at {
        make_folder_of(at)?;
        fs::write(path, page(report, history))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    print(report, json)?;
    Ok(report.passed)
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

fn run_beside(arguments: RunArguments, command: &[OsString], json: bool) -> Result<bool> {
    let screen = Screen::plain(json);
    Ok(around(&arguments.options()?, command, &screen)?.success())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_printed_command_repeats_the_run() {
        let given = "jackdaw-chaos kill-all --seed 7 --rounds 2 --nodes 5 --rate 300 --slack 2";
        let Command::KillAll(arguments) =
            Arguments::try_parse_from(given.split(' ')).unwrap().command
        else {
            panic!("another command")
        };
        let options = RunOptions {
            binary: PathBuf::new(),
            folder: PathBuf::new(),
            keep: false,
            page: None,
            nodes: arguments.nodes,
            rate_per_s: arguments.rate.unwrap(),
            seed: arguments.seed.unwrap(),
            rounds: arguments.rounds,
            slack: arguments.slack,
        };
        assert_eq!(options.repeat("kill-all"), given);
    }
}
