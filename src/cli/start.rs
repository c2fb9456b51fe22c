//! `jackdaw serve`: configuration, then the process's log, then the node.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use super::args::ServeArgs;
use super::output::print;
use crate::broker;
use crate::config::{LogFormat, LoggingConfig, NodeConfig};

pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = NodeConfig::load(args.config.as_deref(), &args.overrides)?;
    let filter = filter(&config.logging)?;
    if args.check {
        let text = format!("the configuration of node {} is valid\n", config.node_id);
        return Ok(print(&text)?);
    }
    start_logging(&config.logging, filter)?;
    broker::serve(config)
}

/// What is logged; `JACKDAW_LOG` overrides the configured filter.
fn filter(config: &LoggingConfig) -> anyhow::Result<EnvFilter> {
    let (filter, source) = match std::env::var("JACKDAW_LOG") {
        Ok(filter) => (filter, "JACKDAW_LOG"),
        Err(_) => (config.filter.clone(), "logging.filter"),
    };
    EnvFilter::try_new(&filter).with_context(|| {
        format!("{source} is not a filter: {filter:?}; write it as in info,jackdaw::group=debug")
    })
}

/// The process's log goes to standard error.
fn start_logging(config: &LoggingConfig, filter: EnvFilter) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let set = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Plain => builder.without_time().try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("the log cannot be set up: {error}"))
}
