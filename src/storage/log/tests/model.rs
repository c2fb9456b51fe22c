//! The log against a `Vec`: appends, syncs, truncations, rolls, purges, resets, compactions, restarts and
//! power cuts, within each of these too, in any order.
//!
//! Sequence after sequence is drawn from a seed; a failure names it. `JACKDAW_SEED` begins with
//! another one, `JACKDAW_CASES` says how many there are: with 1, the named one runs again.

use super::cases::Cases;
use super::cases::stride;
use super::held::Allowed;
use super::power_cut::Keep;
use super::random::{Random, setting};
use super::run::{Run, scratch};
use super::script::{Planned, Step};
use super::*;

const SEQUENCES: u64 = 10_000;

#[test]
fn behaves_like_a_vec() {
    let mut cases = Cases::new("random sequences");
    let first = setting("JACKDAW_SEED", 1);
    let mut segments_compacted = 0;
    let count = setting("JACKDAW_CASES", SEQUENCES / stride(4) as u64);
    for seed in first..first + count {
        cases.run(&format!("JACKDAW_SEED={seed} JACKDAW_CASES=1"), || {
            segments_compacted += sequence(&mut Random(seed))?;
            Ok(())
        });
    }
    println!("random sequences: compactions replace {segments_compacted} segments");
    cases.report(SEQUENCES.min(count) as usize);
}

/// How many segments its compactions replaced.
fn sequence(random: &mut Random) -> Result<u64, String> {
    let root = scratch();
    let (mut dirs, mut segments_compacted) = (0, 0);
    let mut run = new_run(root.path().join("0"), random);
    let mut done = Vec::new();
    for at in 0..3 + random.below(12) {
        // Whatever else a log learns to do is one more `Step`.
        let planned = run.plan(Step::random(random));
        let (step, begun) = (&planned.step, run.disk.mark());
        done.push(format!("{step:?}"));
        let before = run.segments_compacted;
        run.step(&planned).map_err(|error| format!("step {at}, {step:?}: {error}"))?;
        segments_compacted += run.segments_compacted - before;
        if random.below(6) == 0 {
            dirs += 1;
            run = power_cut(&run, &planned, begun, root.path().join(dirs.to_string()), random)
                .map_err(|what| format!("{done:?}, then a power cut: {what}"))?;
            done.push("power cut".to_owned());
        }
        if random.below(4) == 0 {
            check(&mut run).map_err(|what| format!("step {at}: {what}"))?;
        }
    }
    check(&mut run).map_err(|what| format!("at the end: {what}"))?;
    Ok(segments_compacted)
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

/// Goes on in what a power cut leaves, after the last step or within it.
fn power_cut(
    run: &Run,
    last: &Planned,
    begun: usize,
    dir: std::path::PathBuf,
    random: &mut Random,
) -> Result<Run, String> {
    let keep = [Keep::None, Keep::All, Keep::Some, Keep::Some][random.below(4)];
    let allowed = if random.coin() {
        run.disk.power_cut(keep, random, &dir);
        Allowed::exactly(&run.held)
    } else {
        let upto = begun + random.below(run.disk.mark() - begun);
        run.disk.power_cut_at(upto, keep, random, &dir);
        last.allowed()
    };
    let mut next = new_run(dir, random);
    next.start_again(&allowed)?;
    Ok(next)
}
