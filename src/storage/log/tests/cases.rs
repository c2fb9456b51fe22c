//! What tests with many cases share: which to run, how to open what a crash left, how to report.
//!
//! `JACKDAW_SEED` begins with another script than the first, `JACKDAW_SCRIPTS` runs several, and
//! `JACKDAW_ALL=1` leaves out no step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::held::Allowed;
use super::random::setting;
use super::records::{check_compacted, seen};
use super::run::compact;
use super::*;
use crate::storage::{VerifyRange, verify_log_dir};

/// Steps of a script.
pub(super) const STEPS: usize = 200;

/// Cases of a test, and those that failed.
pub(super) struct Cases {
    what: &'static str,
    begun: Instant,
    count: usize,
    failures: Vec<String>,
}

impl Cases {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, begun: Instant::now(), count: 0, failures: Vec::new() }
    }

    /// Runs a case; a panic in it is its failure.
    pub(super) fn run(&mut self, name: &str, case: impl FnOnce() -> Result<(), String>) {
        self.count += 1;
        let failure = match catch_unwind(AssertUnwindSafe(case)) {
            Ok(result) => result.err(),
            Err(panic) => Some(match panic.downcast_ref::<String>() {
                Some(text) => format!("panicked: {text}"),
                None => "panicked".to_owned(),
            }),
        };
        self.failures.extend(failure.map(|what| format!("{name}: {what}")));
    }

    /// Fails where a case did, and where all were to be run and fewer than `least` were.
    pub(super) fn report(self, least: usize) {
        let Self { what, begun, count, failures } = self;
        println!("{what}: {count} cases in {:.1} s", begun.elapsed().as_secs_f32());
        let shown = failures.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(failures.is_empty(), "{} of {count} cases failed:\n{shown}", failures.len());
        assert!(!is_full() || count >= least, "{what}: {count} cases, not {least}");
    }
}

/// The seeds of the scripts to run.
pub(super) fn seeds() -> std::ops::Range<u64> {
    let first = setting("JACKDAW_SEED", 1);
    first..first + setting("JACKDAW_SCRIPTS", 1)
}

/// Every how many steps there is a case.
pub(super) fn stride(default: usize) -> usize {
    if is_full() { 1 } else { default }
}

/// Whether every case is to be run.
fn is_full() -> bool {
    setting("JACKDAW_ALL", 0) == 1
}

/// Opens what a crash left, and goes on in it if asked to.
pub(super) fn check_left(dir: &Path, allowed: &Allowed, go_on: bool) -> Result<(), String> {
    let open = || Log::open(dir, &identity(), small(), &uncached(), None);
    let (log, _) = open().map_err(|e| e.to_string())?;
    allowed.check(&log)?;
    if !go_on {
        return Ok(());
    }
    let next = log.last().map_or(0, |last| last.index + 1);
    let compacted = compact(&log, next).map_err(|e| e.to_string())?;
    allowed.all_committed().check(&log).map_err(|what| format!("compacted again: {what}"))?;
    check_compacted(&seen(&read_all(&log)), compacted.upto.0, 0);
    log.append(&[blank(1000, next), batch(1000, next + 1, 2, 300)]).map_err(|e| e.to_string())?;
    log.sync_blocking().map_err(|e| e.to_string())?;
    let want = read_all(&log);
    drop(log);
    let (log, _) = open().map_err(|e| format!("the second time: {e}"))?;
    if read_all(&log) != want {
        return Err("the second time it holds something else".to_owned());
    }
    let report = verify_log_dir(dir, VerifyRange::default()).map_err(|e| e.to_string())?;
    report.problems.first().map_or(Ok(()), |problem| Err(format!("{problem:?}")))
}
