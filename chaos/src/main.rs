//! The `jackdaw-chaos` command: see `jackdaw-chaos --help`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // It holds for the thread that calls it and those that it begins: now there is no other.
    if let Err(error) = jackdaw_chaos::cluster::keep_apart() {
        eprintln!(
            "warning: mounts are not kept apart, cut volumes may stay in use elsewhere: {error}"
        );
    }
    jackdaw_chaos::cli::Arguments::parse().run()
}
