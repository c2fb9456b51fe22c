//! The `jackdaw` command.

use std::process::ExitCode;

/// Steadiest memory of the allocators tried with many Raft groups.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    jackdaw::cli::run()
}
