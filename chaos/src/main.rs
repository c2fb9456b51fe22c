//! The `jackdaw-chaos` command: see `jackdaw-chaos --help`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    jackdaw_chaos::cli::Arguments::parse().run()
}
