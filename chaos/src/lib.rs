//! Starts Jackdaw clusters, breaks them, and checks what clients saw.
//!
//! ```text
//! main · cli             arguments, progress, exit code
//! run                    one file per command: demo, leader-kill, cut-cable, hibernation, …
//! faults   workload      what is broken · what clients do meanwhile
//! checkers               one invariant per file, over a history
//! page                   a history and what was found, as HTML
//! cluster  history       processes on loopback or on hosts of their own · the append-only record of
//!                        operations
//! ```
//!
//! **Invariant:** a checker reads a history and nothing else, so that a history recorded elsewhere
//! can be checked too.
//!
//! **Invariant:** only processes that this crate started are signalled, by their process id.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod checkers;
pub mod cli;
pub mod cluster;
pub mod faults;
pub mod history;
pub mod page;
pub mod run;
pub mod workload;
