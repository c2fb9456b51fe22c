//! The `jackdaw` command.

use std::process::ExitCode;

/// Steadiest memory of the allocators tried with many Raft groups.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The allocator's options (jemalloc(3), `malloc_conf`). Large requests come and go by the hundred a second: with
/// its own four arenas per processor and ten seconds of patience, memory that nobody uses is most of what
/// a busy broker has.
#[allow(unsafe_code)]
// SAFETY: the allocator looks for a pointer to a C string under this name.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 63] =
    b"percpu_arena:percpu,background_thread:true,dirty_decay_ms:1000\0";

fn main() -> ExitCode {
    jackdaw::cli::run()
}
