//! What a broker process costs while it serves: its CPU time against a bare loop, and its memory.
//!
//! ```text
//! cargo bench --bench broker                      every scenario
//! cargo bench --bench broker -- consume           one of them
//! cargo bench --bench broker -- memory --gb 8
//! JACKDAW_BENCH_DIR=/data cargo bench …           another disk than that of the temporary folder
//! ```
//! It ends with 1 where a figure misses its bar. Linux only: CPU time and memory are read from `/proc`.
#![allow(clippy::unwrap_used)]

mod client;
mod consume;
mod memory;
mod process;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("cargo bench --bench broker -- [consume|memory]... [--gb N]");
        return;
    }
    let gb = args.iter().position(|arg| arg == "--gb").map(|at| args[at + 1].parse().unwrap());
    let wants = |name: &str| {
        let named = args.iter().any(|arg| ["consume", "memory"].contains(&arg.as_str()));
        !named || args.iter().any(|arg| arg == name)
    };
    let mut is_met = true;
    if wants("consume") {
        is_met &= consume::run(gb.unwrap_or(4));
    }
    if wants("memory") {
        is_met &= memory::run(gb.unwrap_or(8));
    }
    std::process::exit(i32::from(!is_met));
}
