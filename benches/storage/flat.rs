//! Whether cost depends on how many segments a log has.

use std::time::{Duration, Instant};

use jackdaw::model::{Offset, Timestamp};
use jackdaw::storage::{Log, LogOptions, RollLimits};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::bed::{batch, careless, entry, folder, open, storage};
use crate::figures::{Report, median};

const FEW: usize = 100;
const MANY: usize = 10_000;
const BATCH: usize = 1024;
const SEGMENT: u64 = 16 << 10;
const LOOKUPS: usize = 3_000;

struct Subject {
    log: Log,
    next: u64,
    end: Offset,
}

pub(crate) fn by_segments(report: &mut Report) {
    let (few_dir, many_dir) = (folder(), folder());
    let mut few = Subject::make(few_dir.path(), FEW);
    let mut many = Subject::make(many_dir.path(), MANY);
    let mut random = StdRng::seed_from_u64(1);
    let mut offset = |subject: &Subject| Offset(random.random_range(0..subject.end.0));
    let (mut in_few, mut in_many) = (Vec::new(), Vec::new());
    for _ in 0..LOOKUPS * 11 {
        in_few.push(offset(&few));
        in_many.push(offset(&many));
    }
    let (mut a, mut b) = (in_few.iter().cycle(), in_many.iter().cycle());
    let fetch = |subject: &Subject, from: Offset| {
        let slices = subject.log.slices(from, subject.end, 8 << 10, true).unwrap();
        assert!(!slices.is_empty());
    };
    compare(
        report,
        "fetch at a random offset",
        || fetch(&few, *a.next().unwrap()),
        || fetch(&many, *b.next().unwrap()),
    );
    let by_time = |subject: &Subject, at: Offset| {
        let found =
            subject.log.offset_for_timestamp(Timestamp(at.0), Offset(0), subject.end).unwrap();
        assert!(found.is_some());
    };
    compare(
        report,
        "offset by a random time",
        || by_time(&few, *a.next().unwrap()),
        || by_time(&many, *b.next().unwrap()),
    );
    // Last: from here on their newest segments grow large.
    compare(report, "append", || few.append(), || many.append());
}

impl Subject {
    fn make(dir: &std::path::Path, segments: usize) -> Self {
        let options = || LogOptions {
            roll: RollLimits { bytes: SEGMENT, ..RollLimits::default() },
            preallocate_min_bytes: SEGMENT,
            ..LogOptions::default()
        };
        let log = open(&dir.join("log"), options(), &careless());
        let mut next = 0;
        let mut end = Offset(0);
        while log.segment_count() < segments {
            end = log.append(&[entry(next, &batch(BATCH, end.0))]).unwrap().end_offset;
            next += 1;
        }
        log.close().unwrap();
        let log = open(&dir.join("log"), LogOptions::default(), &storage(dir));
        Self { log, next, end }
    }

    fn append(&mut self) {
        let batch = batch(BATCH, self.end.0);
        self.end = self.log.append(&[entry(self.next, &batch)]).unwrap().end_offset;
        self.next += 1;
    }
}

/// Runs both in turn, and prints the medians of rounds and their ratio.
fn compare(report: &Report, what: &str, mut few: impl FnMut(), mut many: impl FnMut()) {
    let round = |run: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..LOOKUPS).for_each(|_| run());
        begun.elapsed() / LOOKUPS as u32
    };
    round(&mut few);
    // All of its segments have been used once: what remains is the cost of the lookup.
    (0..10).for_each(|_| {
        round(&mut many);
    });
    let (mut a, mut b): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        a.push(round(&mut few));
        b.push(round(&mut many));
    }
    let (few, many) = (median(&mut a), median(&mut b));
    report.micros(&format!("{what}, 100 segments"), few);
    report.micros(&format!("{what}, 10,000 segments"), many);
    report.figure("more by (bar: 1.2)", many.as_secs_f64() / few.as_secs_f64(), "×");
}
