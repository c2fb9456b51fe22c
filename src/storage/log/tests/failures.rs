//! An operation that fails, and a process that ends, at every step of a script.
//!
//! ```text
//! script ─► fault ─┬─ the process ended: starts again ─► goes on ─► power cut
//!                  └─ refused: the log is as before ─► goes on ─► starts again ─► power cut
//! ```

use super::cases::{Cases, STEPS, check_left, seeds, stride};
use super::fault_disk::Fault;
use super::held::Allowed;
use super::power_cut::Keep;
use super::random::Random;
use super::run::{Run, scratch, sync};
use super::script::{Planned, Step};
use super::*;

/// Steps that are done after one was refused.
const STEPS_AFTER: usize = 10;

#[test]
fn a_process_that_ends_at_any_step_starts_again() {
    every_step("ends of the process", Fault::Kill);
}

#[test]
fn an_input_output_error_at_any_step_loses_nothing_acknowledged() {
    every_step("I/O errors", Fault::InputOutput);
}

#[test]
fn a_disk_that_fills_at_any_step_leaves_the_log_usable() {
    every_step("full disks", Fault::NoSpace);
}

fn every_step(what: &'static str, fault: Fault) {
    let mut cases = Cases::new(what);
    for seed in seeds() {
        let script = Planned::script(seed, STEPS);
        let name = format!("script {seed}");
        let random = |at| Random(seed << 32 | at as u64);
        each_operation(&mut cases, &name, &script, (fault, stride(4)), random);
    }
    cases.report(500);
}

/// Runs a script into a fault at each so many-th of its operations, from the first to the last.
pub(super) fn each_operation(
    cases: &mut Cases,
    name: &str,
    script: &[Planned],
    (fault, stride): (Fault, usize),
    random: impl Fn(usize) -> Random,
) {
    let mut ended = false;
    for at in (1..).step_by(stride) {
        cases.run(&format!("{name}, operation {at}"), || {
            let result = run_into(script, at, fault, &mut random(at));
            ended = result.is_none();
            result.unwrap_or(Ok(()))
        });
        if ended {
            break;
        }
    }
}

/// Runs a script into a fault at its `at`-th operation; `None` if it ended before.
fn run_into(
    script: &[Planned],
    at: usize,
    fault: Fault,
    random: &mut Random,
) -> Option<Result<(), String>> {
    let dir = scratch();
    let mut run = Run::new(&dir.path().join("log"), 0);
    run.disk.arm(at, fault);
    let mut steps = script.iter();
    while let Some(planned) = steps.next() {
        let result = run.step(planned);
        let step = &planned.step;
        if run.has_failed() || run.disk.is_dead() {
            let result = after_the_end(&mut run, &planned.allowed(), random);
            return Some(result.map_err(|what| format!("in {step:?}: {what}")));
        }
        if let Err(error) = result {
            if let Err(what) = after_a_refusal(&mut run, planned, random) {
                return Some(Err(format!("{step:?} refused by {error}; {what}")));
            }
            for planned in steps.by_ref().take(STEPS_AFTER) {
                let planned = run.plan(planned.step.clone());
                if let Err(error) = run.step(&planned) {
                    return Some(Err(format!("{step:?}, then {:?}: {error}", planned.step)));
                }
            }
            break;
        }
    }
    let allowed = Allowed::settled(&run.held);
    run.disk.struck().then(|| after_the_end(&mut run, &allowed, random))
}

/// The process ended: nothing more is acknowledged, and what was is there, for a process that starts
/// again and after a power cut.
fn after_the_end(run: &mut Run, allowed: &Allowed, random: &mut Random) -> Result<(), String> {
    check_stopped(run)?;
    // What was appended is in the page cache at least.
    let left = match allowed.truncates {
        true => allowed.clone(),
        false => allowed.with_floor(allowed.before.next()),
    };
    run.start_again(&left).map_err(|what| format!("started again: {what}"))?;
    let ended = allowed.with_floor(run.held.durable);
    if random.below(3) == 0 {
        return cut_now(run, &ended, random);
    }
    // Where it begins is only settled with the first sync.
    let first = if ended.moves_the_start() { Step::Sync } else { Step::NewTerm };
    let end = Step::random(random);
    let mut done = Vec::new();
    for step in [first, Step::Append(vec![200, 33]), Step::NewTerm, Step::Sync, end] {
        if random.below(4) == 0 && !(ended.moves_the_start() && matches!(step, Step::Sync)) {
            break;
        }
        let planned = run.plan(step);
        run.step(&planned)
            .map_err(|error| format!("{:?} after it started again: {error}", planned.step))?;
        done.push(planned.step);
    }
    cut_now(run, &Allowed::exactly(&run.held), random)
        .map_err(|what| format!("started again, then {done:?}, {what}"))
}

/// A log that failed takes and acknowledges nothing more.
fn check_stopped(run: &Run) -> Result<(), String> {
    let (true, Some(log)) = (run.has_failed(), &run.log) else { return Ok(()) };
    let durable = log.durable_end();
    let next = log.last().map_or(0, |last| last.index + 1);
    if log.append(&[blank(1000, next)]).is_ok() || sync(log).is_ok() {
        return Err("it goes on after a failure".to_owned());
    }
    if log.durable_end() != durable {
        return Err("the durable end moves after a failure".to_owned());
    }
    Ok(())
}

fn cut_now(run: &Run, allowed: &Allowed, random: &mut Random) -> Result<(), String> {
    let dir = scratch();
    let to = dir.path().join("log");
    let keep = [Keep::None, Keep::Some, Keep::All][random.below(3)];
    run.disk.power_cut(keep, random, &to);
    check_left(&to, allowed, false).map_err(|what| format!("then a power cut ({keep:?}): {what}"))
}

/// A step failed and the process goes on: the log is as it was (of a purge, also as it was to be; of a
/// compaction, anything in between), and usable.
fn after_a_refusal(run: &mut Run, planned: &Planned, random: &mut Random) -> Result<(), String> {
    let step = &planned.step;
    if let Some(log) = run.log.clone() {
        let as_before = run.held.check(&log, run.held.next());
        let is_done = matches!(step, Step::Purge(_)) && as_before.is_err();
        if is_done || matches!(step, Step::Compact(_)) {
            run.held = Arc::clone(&planned.after);
        }
        Arc::make_mut(&mut run.held).snapshot = log.read_snapshot().unwrap();
        run.held
            .check(&log, run.held.next())
            .map_err(|what| format!("then the log is not as before: {what}"))?;
    }
    run.disk.heal();
    if matches!(step, Step::Restart) || run.log.is_none() {
        // It may be closed.
        return run.start_again(&planned.allowed());
    }
    let step = if random.coin() { Step::NewTerm } else { step.clone() };
    let planned = run.plan(step);
    run.step(&planned)
        .map_err(|error| format!("{:?} fails when the fault is over: {error}", planned.step))
}
