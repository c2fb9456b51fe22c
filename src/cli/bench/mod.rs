//! `jackdaw bench`: a load generator that works with any broker of Kafka's protocol.
//!
//! One thread does everything, and as little as possible: batches are made once ([`body`]), records of a
//! fixed rate are arithmetic ([`schedule`]), and what is pure ([`lane`], [`feed`], [`load`]) is apart from
//! sockets ([`link`], [`fleet`]).
//!
//! **Invariant:** memory is bounded, however far a cluster falls behind.
//! **Invariant:** a record that is not known to be stored makes the exit code 1.

mod args;
mod body;
mod consume;
mod e2e;
mod failover;
mod feed;
mod fetcher;
mod fleet;
mod gaps;
mod lane;
mod link;
mod load;
mod produce;
mod progress;
mod report;
mod schedule;
mod tally;
mod timer;
mod topic;
mod view;

pub(super) use args::BenchCommand;

use tokio::task::LocalSet;

use super::args::Connect;

/// Measures what `command` says, and reports.
pub(super) async fn run(command: BenchCommand, connect: &Connect) -> anyhow::Result<()> {
    let local = LocalSet::new();
    local
        .run_until(async {
            match command {
                BenchCommand::Produce(args) => produce::run(args, connect).await,
                BenchCommand::Consume(args) => consume::run(args, connect).await,
                BenchCommand::E2e(args) => e2e::run(args, connect).await,
                BenchCommand::Failover(args) => failover::run(args, connect).await,
            }
        })
        .await
}
