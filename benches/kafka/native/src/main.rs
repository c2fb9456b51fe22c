//! Load through librdkafka, or without any library: clients so light that what is measured is the broker.
//!
//! Prints one JSON object on standard output when it is done. A record that is not acknowledged or does not arrive ends the
//! process with an error: a figure of a run that lost some would say nothing.

mod consume;
mod e2e;
mod latencies;
mod produce;
mod requests;
mod target;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes records as fast as the broker takes them
    Produce(produce::Options),
    /// Reads records as fast as the broker gives them
    Consume(consume::Options),
    /// Writes at a fixed rate and reads the same records; how long each took to be acknowledged and to arrive
    E2e(e2e::Options),
    /// Writes over many plain connections, one record a request and one request at a time on each
    Requests(requests::Options),
    /// The version of librdkafka
    Version,
}

fn main() -> Result<()> {
    let found = match Cli::parse().command {
        Command::Produce(options) => serde_json::to_value(produce::run(&options)?)?,
        Command::Consume(options) => serde_json::to_value(consume::run(&options)?)?,
        Command::E2e(options) => serde_json::to_value(e2e::run(&options)?)?,
        Command::Requests(options) => serde_json::to_value(requests::run(&options)?)?,
        Command::Version => {
            serde_json::json!({ "librdkafka": rdkafka::util::get_rdkafka_version().1 })
        }
    };
    println!("{found}");
    Ok(())
}
