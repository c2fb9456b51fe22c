//! Whether cost depends on how many segments a log has.
//!
//! A processor is slower where it touches more memory, whatever the log does: 10,000 segments of 16 KiB
//! are 160 MB, 100 of them are 1.6 MB and stay in its caches. So what is compared is alike but for the
//! number of segments:
//! * *same places*: both logs have segments of 16 KiB, and both are asked for what lies in 100 of them,
//!   drawn once from all of the log. The bytes, index entries, maps and files that are touched are as
//!   many in either: what is left is the search among the segments. This has the bar.
//! * *same bytes*: 160 MB cut into 100 segments or into 10,000, asked for anything. Here the many also
//!   pay for 100 times the files, inodes and maps, none of which fit the caches: that is shown, too.
//!
//! All of it is warm; what the first use of a segment costs, and the use of one that was closed because
//! too many are open, is shown on its own.

use std::path::Path;
use std::time::{Duration, Instant};

use jackdaw::model::{Offset, Timestamp};
use jackdaw::storage::{Log, LogOptions, RollLimits, Storage, StorageOptions};
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bed::{batch, careless, entry, folder, open};
use crate::figures::{Bar, Report, median};

const FEW: usize = 100;
const MANY: usize = 10_000;
const BATCH: usize = 1024;
const SMALL: u64 = 16 << 10;
const LARGE: u64 = SMALL * (MANY / FEW) as u64;
const LOOKUPS: usize = 3_000;
const ROUNDS: usize = 15;
/// Open segments of the log that has more.
const CLOSING: usize = 512;

struct Subject {
    log: Log,
    next: u64,
    end: Offset,
    segments: usize,
    /// Offsets to ask for.
    offsets: Vec<Offset>,
    at: usize,
}

pub(crate) fn by_segments(report: &mut Report) {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, most).unwrap();
    let dirs = [folder(), folder(), folder()];
    let (small, large, many) = (dirs[0].path(), dirs[1].path(), dirs[2].path());
    make(small, FEW, SMALL);
    make(large, FEW, LARGE);
    make(many, MANY, SMALL);
    // What is still to be written back would be, in the midst of a measurement.
    rustix::fs::syncfs(std::fs::File::open(many).unwrap()).unwrap();

    let begun = Instant::now();
    let mut many_segments = Subject::open(many, &storage(many, 2 * MANY), MANY);
    report.micros("open, 10,000 segments", begun.elapsed());
    report.micros("the first fetch of a segment", many_segments.first_fetches());
    {
        let mut closing = Subject::open(many, &storage(many, CLOSING), MANY);
        closing.first_fetches();
        report.micros("a fetch of one that was closed", closing.first_fetches());
    }

    let mut few_small = Subject::open(small, &storage(small, 2 * MANY), FEW);
    few_small.draw(FEW);
    many_segments.draw(FEW);
    let same = (&mut few_small, &mut many_segments);
    compare(report, "fetch, same places", Subject::fetch, same.0, same.1);
    compare(report, "offset by time, same places", Subject::by_time, same.0, same.1);

    let mut few_large = Subject::open(large, &storage(large, 2 * MANY), FEW);
    few_large.draw(FEW);
    many_segments.draw(MANY);
    let same = (&mut few_large, &mut many_segments);
    compare(report, "fetch, same bytes", Subject::fetch, same.0, same.1);
    compare(report, "offset by time, same bytes", Subject::by_time, same.0, same.1);
    // Last: from here on their newest segments grow large.
    compare(report, "append", Subject::append, &mut few_small, &mut many_segments);
}

fn storage(dir: &Path, open_segments_max: usize) -> Storage {
    let volume = Some(dir.to_owned());
    Storage::new(StorageOptions { volume, open_segments_max, ..StorageOptions::default() })
}

/// A log of so many segments of that size, all with as many batches of one record.
fn make(dir: &Path, segments: usize, bytes: u64) {
    let roll = RollLimits { bytes, ..RollLimits::default() };
    let options = LogOptions { roll, preallocate_min_bytes: SMALL, ..LogOptions::default() };
    let log = open(&dir.join("log"), options, &careless());
    let (mut next, mut end) = (0, Offset(0));
    while log.segment_count() < segments {
        end = log.append(&[entry(next, &batch(BATCH, end.0))]).unwrap().end_offset;
        next += 1;
    }
    log.close().unwrap();
}

impl Subject {
    fn open(dir: &Path, storage: &Storage, segments: usize) -> Self {
        let log = open(&dir.join("log"), LogOptions::default(), storage);
        assert_eq!(log.segment_count(), segments);
        let next = log.last().unwrap().index + 1;
        Self { end: log.end_offset(), log, next, segments, offsets: Vec::new(), at: 0 }
    }

    /// Draws offsets from so many of the sealed segments.
    fn draw(&mut self, segments: usize) {
        let mut random = StdRng::seed_from_u64(1);
        let each = self.end.0 / (self.segments - 1) as i64;
        let segments = segments.min(self.segments - 1);
        let from: Vec<i64> = sample(&mut random, self.segments - 1, segments)
            .iter()
            .map(|segment| segment as i64 * each)
            .collect();
        let mut draw = || from[random.random_range(0..from.len())] + random.random_range(0..each);
        self.offsets = (0..LOOKUPS * 4).map(|_| Offset(draw())).collect();
        self.at = 0;
    }

    fn next_offset(&mut self) -> Offset {
        self.at = (self.at + 1) % self.offsets.len();
        self.offsets[self.at]
    }

    fn fetch_at(&self, from: Offset) {
        assert!(!self.log.slices(from, self.end, BATCH, true).unwrap().is_empty());
    }

    fn fetch(&mut self) {
        let from = self.next_offset();
        self.fetch_at(from);
    }

    fn by_time(&mut self) {
        let at = Timestamp(self.next_offset().0);
        assert!(self.log.offset_for_timestamp(at, Offset(0), self.end).unwrap().is_some());
    }

    fn append(&mut self) {
        let batch = batch(BATCH, self.end.0);
        self.end = self.log.append(&[entry(self.next, &batch)]).unwrap().end_offset;
        self.next += 1;
    }

    /// One fetch from each sealed segment, oldest first: what one takes.
    fn first_fetches(&mut self) -> Duration {
        let sealed = self.segments - 1;
        let each = self.end.0 / sealed as i64;
        let begun = Instant::now();
        (0..sealed).for_each(|segment| self.fetch_at(Offset(segment as i64 * each)));
        begun.elapsed() / sealed as u32
    }
}

/// Runs both in turn; prints the medians of rounds, and that of the ratios within them.
fn compare(
    report: &mut Report,
    what: &str,
    run: fn(&mut Subject),
    few: &mut Subject,
    many: &mut Subject,
) {
    let round = |subject: &mut Subject| {
        let begun = Instant::now();
        (0..LOOKUPS).for_each(|_| run(subject));
        begun.elapsed() / LOOKUPS as u32
    };
    // What is drawn has been used once: what remains is the cost of the lookup.
    (0..4).for_each(|_| {
        round(few);
        round(many);
    });
    let (mut a, mut b): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (few, many) = (round(few), round(many));
        ratios.push(many.as_secs_f64() / few.as_secs_f64());
        a.push(few);
        b.push(many);
    }
    report.micros(&format!("{what}, 100 segments"), median(&mut a));
    report.micros(&format!("{what}, 10,000 segments"), median(&mut b));
    let (name, ratio) = (format!("{what}: more by"), median(&mut ratios));
    match what.ends_with("same bytes") {
        true => report.figure(&name, ratio, "×"),
        false => report.against(Bar::AtMost(1.2), &name, ratio, "×"),
    }
}
