//! What a run did, line by line: a hash of it all, and the lines if they are wanted.
//!
//! **Invariant:** a line depends on the seed alone: no wall-clock time, no address, no path.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::clock;

static TRACE: Mutex<Trace> = Mutex::new(Trace { hash: OFFSET, lines: 0, file: None });

/// FNV-1a, 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

struct Trace {
    hash: u64,
    lines: u64,
    file: Option<BufWriter<File>>,
}

/// Begins to trace what `filter` lets through; into a file, if there is a path.
pub(crate) fn begin(filter: &str, path: Option<&Path>) -> Result<()> {
    if let Some(path) = path {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        trace().file = Some(BufWriter::new(file));
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_timer(SimTime)
        .with_writer(Lines)
        .init();
    Ok(())
}

/// Hash and number of the lines so far.
pub(crate) fn summary() -> (u64, u64) {
    let trace = trace();
    (trace.hash, trace.lines)
}

/// Writes out what is kept back.
pub(crate) fn flush() {
    if let Some(file) = &mut trace().file {
        // The run has its verdict without the file.
        drop(file.flush());
    }
}

fn trace() -> MutexGuard<'static, Trace> {
    TRACE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct SimTime;

impl FormatTime for SimTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:>9.3}", clock::now_us() as f64 / 1_000_000.0)
    }
}

struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut trace = trace();
        trace.lines += 1;
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        trace.hash = line.iter().fold(trace.hash, step);
        if let Some(file) = &mut trace.file {
            file.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
