//! A power cut, or a damaged bit, at every change that a script makes to the files.

use std::path::PathBuf;

use super::cases::{Cases, STEPS, check_left, seeds, stride};
use super::fault_disk::Op;
use super::held::Allowed;
use super::power_cut::{Image, Keep};
use super::random::Random;
use super::run::{Run, compact, scratch};
use super::script::Planned;
use super::*;

/// A script that ran through, and what a crash at each place in the list of changes may leave.
pub(super) struct Recorded {
    base: Image,
    journal: Vec<Op>,
    /// From which place on what is allowed.
    spans: Vec<(usize, Allowed)>,
    segments_compacted: u64,
}

impl Recorded {
    /// Runs `script`.
    pub(super) fn new(script: &[Planned]) -> Self {
        let dir = scratch();
        let mut run = Run::new(&dir.path().join("log"), 0);
        let mut spans = Vec::new();
        for planned in script {
            spans.push((run.disk.mark(), planned.allowed()));
            run.step(planned).unwrap();
        }
        let (base, journal) = run.disk.history();
        Self { base, journal, spans, segments_compacted: run.segments_compacted }
    }

    /// Calls `case` at each change with what is on the disk if it was the last one begun.
    pub(super) fn each(&self, mut case: impl FnMut(usize, &Image, &Allowed)) {
        self.base.clone().each_state(&self.journal, |at, image| {
            let span = self.spans.partition_point(|(from, _)| *from <= at) - 1;
            case(at, image, &self.spans[span].1);
        });
    }
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_acknowledged() {
    let mut cases = Cases::new("power cuts");
    for seed in seeds() {
        let recorded = Recorded::new(&Planned::script(seed, STEPS));
        let compacted = recorded.segments_compacted;
        println!("script {seed}: compactions replace {compacted} segments");
        assert!(compacted > 5, "too few to show anything");
        recorded.each(|at, image, allowed| {
            for draw in 0..5 {
                let mut random = Random(seed << 32 | (at as u64) << 4 | draw);
                let keep =
                    [Keep::None, Keep::All].get(draw as usize).copied().unwrap_or(Keep::Some);
                cases.run(&format!("script {seed}, change {at}, draw {draw} ({keep:?})"), || {
                    let dir = scratch();
                    let to = dir.path().join("log");
                    image.leave(keep, &mut random, &to);
                    check_left(&to, allowed, random.below(8) == 0)
                });
            }
        });
    }
    cases.report(5_000);
}

#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let mut cases = Cases::new("flipped bits");
    let stride = stride(2);
    for seed in seeds() {
        Recorded::new(&Planned::script(seed, STEPS)).each(|at, image, allowed| {
            if at % stride > 0 {
                return;
            }
            for keep in [Keep::None, Keep::All] {
                let mut random =
                    Random(seed << 33 | (at as u64) << 1 | u64::from(keep == Keep::All));
                cases.run(&format!("script {seed}, change {at} ({keep:?})"), || {
                    let dir = scratch();
                    let to = dir.path().join("log");
                    image.leave(keep, &mut random, &to);
                    let Some((path, at)) = flip_one(&to, &mut random) else { return Ok(()) };
                    check_flipped(&to, allowed)
                        .map_err(|what| format!("byte {at} of {}: {what}", path.display()))
                });
            }
        });
    }
    cases.report(1_000);
}

/// Flips a bit of a log, mark or checkpoint file; says where.
fn flip_one(dir: &Path, random: &mut Random) -> Option<(PathBuf, usize)> {
    let paths = std::fs::read_dir(dir).ok()?.map(|entry| entry.unwrap().path());
    let counts = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".log") || ["checkpoint", "retained", "cleaned"].contains(&&*name)
    };
    let mut paths: Vec<PathBuf> = paths.filter(counts).collect();
    paths.sort();
    let path = paths.get(random.below(paths.len()))?.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let (at, bit) = (random.below(bytes.len()), random.below(8));
    *bytes.get_mut(at)? ^= 1 << bit;
    std::fs::write(&path, bytes).unwrap();
    Some((path, at))
}

fn check_flipped(dir: &Path, allowed: &Allowed) -> Result<(), String> {
    let refused = |error: LogError| match error {
        LogError::Corrupt { .. } | LogError::Lost { .. } | LogError::WrongIdentity { .. } => Ok(()),
        other => Err(format!("refused by {other}")),
    };
    match Log::open(dir, &identity(), small(), &uncached(), None) {
        Ok((log, _)) => {
            allowed.check_served(&log)?;
            let next = log.last().map_or(0, |last| last.index + 1);
            if let Err(error) = compact(&log, next) {
                refused(error)?;
            }
            let compacted = allowed.all_committed().check_served(&log);
            compacted.map_err(|what| format!("compacted: {what}"))
        }
        Err(error) => refused(error),
    }
}
