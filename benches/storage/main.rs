//! What the log costs against what the machine can do, in ratios of paired runs.
//!
//! ```text
//! cargo bench --bench storage                     every scenario
//! cargo bench --bench storage -- sharing flat     some of them
//! cargo bench --bench storage -- --json           one JSON object per line
//! JACKDAW_BENCH_DIR=/data cargo bench …           another disk than that of the temporary folder
//! ```
//! It ends with 1 where a figure misses its bar: with nothing else running, on the disk that is meant.
#![allow(clippy::unwrap_used)]

mod append;
mod bed;
mod figures;
mod flat;
mod recovery;
mod relaxed;
mod sharing;

use figures::Report;

/// A scenario's name, what it shows, and its run.
type Scenario = (&'static str, &'static str, fn(&mut Report));

const SCENARIOS: &[Scenario] = &[
    ("sharing", "appenders of one log share syncs", sharing::one_log),
    ("volume", "a thousand logs share syncs", sharing::many_logs),
    ("append", "append latency beside the syncs that run", append::latency),
    ("rolls", "the same with a new segment every 20 ms", append::rolls),
    ("relaxed", "appends that wait for no disk, against a bare copy", relaxed::throughput),
    ("flat", "cost by the number of segments", flat::by_segments),
    ("recovery", "open after a kill", recovery::after_kill),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("cargo bench --bench storage -- [--json] [SCENARIO]...\n");
        for (name, what, _) in SCENARIOS {
            println!("  {name:10} {what}");
        }
        return;
    }
    let mut report = Report::new(args.iter().any(|arg| arg == "--json"));
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|w| SCENARIOS.iter().all(|(name, ..)| name != *w)) {
        eprintln!("no scenario is called {unknown}: --help lists them");
        std::process::exit(2);
    }
    for (name, what, run) in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            bed::settle();
            report.begin(name, what);
            run(&mut report);
        }
    }
    for missed in report.missed() {
        eprintln!("missed its bar: {missed}");
    }
    std::process::exit(i32::from(!report.missed().is_empty()));
}
