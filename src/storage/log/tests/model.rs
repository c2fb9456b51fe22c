//! The log against a `Vec`: appends, syncs, truncations, rolls, purges, resets, restarts and power cuts
//! in any order.
//!
//! Sequence after sequence is drawn from a seed; a failure names it. `JACKDAW_SEED` begins with
//! another one, `JACKDAW_CASES` says how many there are: with 1, the named one runs again.

use super::cases::Cases;
use super::cases::stride;
use super::held::Allowed;
use super::power_cut::Keep;
use super::random::{Random, setting};
use super::run::{Run, scratch};
use super::script::Step;
use super::*;

const SEQUENCES: u64 = 10_000;

#[test]
fn behaves_like_a_vec() {
    let mut cases = Cases::new("random sequences");
    let first = setting("JACKDAW_SEED", 1);
    for seed in first..first + setting("JACKDAW_CASES", SEQUENCES / stride(4) as u64) {
        cases.run(&format!("JACKDAW_SEED={seed} JACKDAW_CASES=1"), || sequence(&mut Random(seed)));
    }
    cases.report();
}

fn sequence(random: &mut Random) -> Result<(), String> {
    let root = scratch();
    let mut dirs = 0;
    let mut run = new_run(root.path().join("0"), random);
    let mut done = Vec::new();
    for at in 0..3 + random.below(12) {
        // Whatever else a log learns to do is one more `Step`.
        if random.below(8) == 0 {
            dirs += 1;
            run = power_cut(&run, root.path().join(dirs.to_string()), random)
                .map_err(|what| format!("{done:?}, then a power cut: {what}"))?;
            done.push("power cut".to_owned());
        } else {
            let planned = run.plan(Step::random(random));
            let step = &planned.step;
            done.push(format!("{step:?}"));
            run.step(&planned).map_err(|error| format!("step {at}, {step:?}: {error}"))?;
        }
        if random.below(4) == 0 {
            check(&mut run).map_err(|what| format!("step {at}: {what}"))?;
        }
    }
    check(&mut run).map_err(|what| format!("at the end: {what}"))
}

/// With a cache that holds some entries, or without, so that reads join cache and disk.
fn new_run(dir: std::path::PathBuf, random: &mut Random) -> Run {
    Run::new(&dir, if random.coin() { 2000 } else { 0 })
}

fn check(run: &mut Run) -> Result<(), String> {
    let held = Arc::clone(&run.held);
    let log = run.log().map_err(|e| e.to_string())?;
    held.check(log, held.next())
}

/// Goes on in what a power cut leaves.
fn power_cut(run: &Run, dir: std::path::PathBuf, random: &mut Random) -> Result<Run, String> {
    let keep = [Keep::None, Keep::All, Keep::Some, Keep::Some][random.below(4)];
    run.disk.power_cut(keep, random, &dir);
    let mut next = new_run(dir, random);
    next.start_again(&Allowed::exactly(&run.held))?;
    Ok(next)
}
