//! `jackdaw-sim`: whole clusters in one thread, with a simulated network, disk and clock, by seed.
//!
//! ```text
//! main ─┬─ parent: a process per seed, so many at a time; prints what replays a seed that failed
//!       ├─ mutants: the same, with known bugs that have to be found
//!       └─ run:    one seed in this process
//!             nodes     the broker of `jackdaw`, each a host of turmoil
//!             workload  Kafka clients that write a history    client  their half of the protocol
//!             injector  faults by the seed                    judge   checkers over the history
//!       clock · entropy   in the place of libc's: time and chance follow from the seed
//!       net · disk        what nodes stand on
//! ```
//! **Invariant:** the same seed gives the same trace, to the last line.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod client;
mod clock;
mod disk;
mod entropy;
mod mutants;
mod names;
mod net;
mod parent;
mod run;
mod setup;
mod trace;
mod workload;

fn main() -> std::process::ExitCode {
    cli::main()
}
