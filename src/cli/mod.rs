//! The `jackdaw` command: its arguments, its output, its exit code.
//!
//! Everything but `serve` and `log verify` is a client that speaks to a cluster over sockets.
//!
//! **Invariant:** results go to standard output, everything else to standard error, and a failure
//! ends with a sentence that says what to do and an exit code other than 0.

mod args;
mod bench;
mod client;
mod cluster;
mod consume;
mod elect_leaders;
mod failure;
mod format;
mod group;
mod health;
mod log;
mod output;
mod produce;
mod start;
mod topic;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};

/// Parses the process's arguments, does what they say, and returns the exit code: 0 done, 1 failed,
/// 2 wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { command, connect } = arguments;
    let work = match command {
        Command::Serve(args) => return start::run(args).map(|()| ExitCode::SUCCESS),
        Command::Log(args) => return log::run(args, connect.json),
        remote => remote,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        match work {
            Command::Topic(args) => topic::run(args, &connect).await,
            Command::Produce(args) => produce::run(args, &connect).await,
            Command::Consume(args) => consume::run(args, &connect).await,
            Command::Bench(args) => bench::run(args, &connect).await,
            Command::Group(args) => group::run(args, &connect).await,
            Command::Cluster(args) => cluster::run(args, &connect).await,
            Command::Serve(_) | Command::Log(_) => unreachable!("handled above"),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
