//! The `jackdaw` command.

use std::process::ExitCode;

/// Steadiest memory of the allocators tried with many Raft groups.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, where the variable `_RJEM_MALLOC_CONF` does not override them. Fewer arenas, which
/// give pages back sooner: large requests come and go on every thread, and each arena would keep some.
#[allow(unsafe_code)]
// SAFETY: jemalloc declares the symbol as a pointer to a C string, which this is; nothing else has its name.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 46] = b"narenas:4,dirty_decay_ms:500,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    jackdaw::cli::run()
}
