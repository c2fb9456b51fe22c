//! Compaction against a plain map: random keyed histories, compacted at random points, reopened,
//! purged, truncated, and stopped by a crash or a power cut at every change of a file.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use super::fault_disk::FaultDisk;
use super::power_cut::Keep;
use super::random::Random;
use super::records::{Seen, check_compacted, is_same_place, newest, seen};
use super::run::scratch;
use super::*;
use crate::model::LeaderEpoch;
use crate::model::batch_builder::BatchBuilder;
use crate::model::compression::Compression;
use crate::model::record_batch::BatchHeader;
use crate::model::records::{RecordBatch, batches};
use crate::storage::{Committed, Compacted, Compaction, CompactionLimits, NewestRecord};

const TOMBSTONES_MS: u64 = 1_000;
const LIMITS: CompactionLimits = CompactionLimits {
    dirty_ratio_min: 0.5,
    lag_min_ms: 0,
    lag_max_ms: u64::MAX,
    tombstones_ms: TOMBSTONES_MS,
};

#[derive(Clone, Debug)]
enum Step {
    /// Batches of records, or frames where there are no records.
    Append(Vec<(usize, Vec<Rec>)>),
    NewTerm,
    Wait(i64),
    /// Up to this share (of 255) of what is not known to be committed becomes so.
    Commit(u8),
    Compact {
        map_slots: usize,
        lag_min_ms: u64,
        /// Told to stop after so many questions.
        patience: u32,
    },
    /// As `Compact`, and the power is cut in every state of the folder on the way.
    CompactAndCrash(u64),
    Truncate(u8),
    Purge(u8),
    Reopen {
        lose_mark: bool,
        lose_indexes: bool,
    },
}

#[derive(Clone, Debug)]
struct Rec {
    key: Option<u8>,
    value: Option<usize>,
}

fn rec() -> impl Strategy<Value = Rec> {
    let key = prop_oneof![20 => (0_u8..9).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![4 => (0_usize..120).prop_map(Some), 1 => Just(None)];
    (key, value).prop_map(|(key, value)| Rec { key, value })
}

fn step() -> impl Strategy<Value = Step> {
    // Decompression is most of the time that this takes.
    let codec = prop_oneof![3 => Just(0_usize), 1 => 0_usize..5];
    let batch = (codec, prop::collection::vec(rec(), 0..6));
    let slots = prop_oneof![1 => 2_usize..12, 3 => Just(1_000)];
    let lag = prop_oneof![4 => Just(0), 1 => 0_u64..1_500];
    let patience = prop_oneof![5 => Just(u32::MAX), 1 => 0_u32..6];
    prop_oneof![
        8 => prop::collection::vec(batch, 1..8).prop_map(Step::Append),
        1 => Just(Step::NewTerm),
        2 => (0_i64..1_200).prop_map(Step::Wait),
        3 => any::<u8>().prop_map(Step::Commit),
        4 => (slots, lag, patience).prop_map(|(map_slots, lag_min_ms, patience)|
            Step::Compact { map_slots, lag_min_ms, patience }),
        1 => any::<u64>().prop_map(Step::CompactAndCrash),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(lose_mark, lose_indexes)|
            Step::Reopen { lose_mark, lose_indexes }),
    ]
}

struct Model {
    root: TempDir,
    dirs: u32,
    log: Log,
    disk: Arc<FaultDisk>,
    first: u64,
    /// As they were appended.
    entries: Vec<LogEntry>,
    committed: u64,
    term: u64,
    now: i64,
    power_cuts: usize,
}

impl Model {
    fn new() -> Self {
        let root = scratch();
        let (disk, log) = open_on_disk(&root.path().join("0"));
        let (dirs, first, committed, term, now) = (0, 0, 0, 1, 10_000);
        let (entries, power_cuts) = (Vec::new(), 0);
        Self { root, dirs, log, disk, first, entries, committed, term, now, power_cuts }
    }

    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(batches) => self.append(batches),
            Step::NewTerm => {
                self.term += 1;
                self.append_entry(EntryBody::Blank);
            }
            Step::Wait(ms) => self.now += ms,
            Step::Commit(share) => {
                let open = self.next() - self.committed;
                self.committed += (open * u64::from(*share)).div_ceil(255);
            }
            Step::Compact { map_slots, lag_min_ms, patience } => {
                self.compact(*map_slots, *lag_min_ms, *patience);
            }
            Step::CompactAndCrash(seed) => self.crash(&mut Random(*seed)),
            Step::Truncate(share) => {
                let keep = (self.next() - self.committed) * u64::from(*share) / 255;
                self.entries.truncate((self.committed + keep - self.first) as usize);
                self.log.truncate_after(self.next().checked_sub(1)).unwrap();
            }
            Step::Purge(share) => self.purge(*share),
            Step::Reopen { lose_mark, lose_indexes } => self.reopen(*lose_mark, *lose_indexes),
        }
    }

    fn append_entry(&mut self, body: EntryBody) {
        let entry = LogEntry::new(self.term, self.next(), body);
        self.entries.extend(append_each(&self.log, &[entry]));
    }

    fn append(&mut self, batches: &[(usize, Vec<Rec>)]) {
        if self.log.last().is_none_or(|last| last.term < self.term) {
            self.append_entry(EntryBody::Blank);
        }
        for (codec, records) in batches {
            if records.is_empty() {
                self.append_entry(EntryBody::Command(Bytes::from(vec![7; *codec])));
                continue;
            }
            let mut builder = BatchBuilder::new(Compression::ALL[*codec]);
            for Rec { key, value } in records {
                self.now += 1;
                let key = key.map(|key| [b'k', key]);
                let value = value.map(|len| vec![self.now as u8; len]);
                let key = key.as_ref().map(|key| &key[..]);
                builder.append(timestamp(self.now), key, value.as_deref(), &[("h", None)]);
            }
            self.append_entry(EntryBody::Produced(builder.build().unwrap()));
        }
    }

    fn purge(&mut self, share: u8) {
        let may = self.committed.saturating_sub(self.first);
        let count = (may * u64::from(share) / 255) as usize;
        let Some(last) = count.checked_sub(1).map(|at| self.entries[at].id) else { return };
        self.log.purge(last.index).unwrap();
        self.entries.drain(..count);
        self.first = last.index + 1;
    }

    fn reopen(&mut self, lose_mark: bool, lose_indexes: bool) {
        self.log.close().unwrap();
        let dir = self.log.dir().to_owned();
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let is_index = path.extension().is_some_and(|e| e == "index");
            if (is_index && lose_indexes) || (path.ends_with("cleaned") && lose_mark) {
                std::fs::remove_file(path).unwrap();
            }
        }
        self.open(&dir);
    }

    fn open(&mut self, dir: &Path) {
        (self.disk, self.log) = open_on_disk(dir);
    }

    fn committed(&self) -> Committed {
        let next_index = self.committed;
        Committed { next_index, high_watermark: self.log.offset_of(next_index).unwrap() }
    }

    fn run(&self, map_slots: usize, lag_min_ms: u64, patience: u32) -> Option<Compacted> {
        let mut left = patience;
        let result = self.log.compact(&mut Compaction {
            limits: CompactionLimits { lag_min_ms, ..LIMITS },
            now: timestamp(self.now),
            committed: self.committed(),
            map_bytes_max: map_slots * 24,
            pace: &mut |_| {
                left = left.saturating_sub(1);
                left > 0
            },
        });
        match result {
            Ok(done) => Some(done),
            Err(LogError::Uncompactable { .. }) if map_slots < 12 => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn compact(&mut self, map_slots: usize, lag_min_ms: u64, patience: u32) {
        let before = read_all(&self.log);
        let limits = CompactionLimits { lag_min_ms, ..LIMITS };
        let dirt = self.log.dirt(&limits, timestamp(self.now), self.committed()).unwrap();
        let done = self.run(map_slots, lag_min_ms, patience);
        let after = read_all(&self.log);
        self.check_step(&before, &after);
        let Some(done) = done.filter(|done| done.finished && dirt.is_some()) else { return };
        check_compacted(&seen(&after), done.upto.0, self.now);
        let size: u64 = self.log.segments().unwrap().iter().map(|s| s.bytes).sum();
        assert_eq!(self.log.size_bytes().unwrap(), size);
        let dropped = seen(&before).len() - seen(&after).len();
        // Those of purged entries that share a segment with others count too.
        assert!(dropped as u64 <= done.records_dropped);
        assert!(self.first > 0 || dropped as u64 == done.records_dropped);
    }

    /// What is gone may be gone, and what is there is as it was.
    fn check_step(&self, before: &[LogEntry], after: &[LogEntry]) {
        let (before, after) = (seen(before), seen(after));
        let high = self.committed().high_watermark.0;
        let active = self.log.segments().unwrap().last().unwrap().base_offset.0;
        let mut left = after.iter().peekable();
        for old in &before {
            if let Some(new) = left.next_if(|new| new.offset == old.offset) {
                assert!(new.is(old), "{old:?} {new:?}");
                assert!(old.horizon.is_none() || old.horizon == new.horizon, "{old:?} {new:?}");
                let horizon = self.now + TOMBSTONES_MS as i64;
                assert!(new.horizon == old.horizon || new.horizon == Some(horizon));
                continue;
            }
            assert!(old.offset < high.min(active), "{old:?} was not to be touched");
            let newer = |r: &&Seen| r.key == old.key && r.offset > old.offset && r.offset < high;
            let superseded = after.iter().find(newer).is_some();
            let past = old.value.is_none() && old.horizon.is_some_and(|h| h <= self.now);
            // A newer record may itself be a tombstone that went now.
            let followed = before.iter().filter(newer).any(|r| r.value.is_none());
            assert!(old.key.is_none() || superseded || past || followed, "{old:?} is lost");
        }
        assert_eq!(left.next(), None);
        assert_eq!(newest(&after), newest(&before));
    }

    /// Goes on in what one of the power cuts leaves; what the others leave is looked at.
    fn crash(&mut self, random: &mut Random) {
        let before = read_all(&self.log);
        self.log.sync_blocking().unwrap();
        let begun = self.disk.mark();
        self.run(1_000, 0, u32::MAX);
        let after = read_all(&self.log);
        let (base, changes) = self.disk.history();
        let (mut count, mut goes_on) = (0, None);
        base.each_state(&changes, |at, state| {
            if at < begun {
                return;
            }
            for keep in [Keep::All, Keep::None, Keep::Some] {
                self.power_cuts += 1;
                count += 1;
                if random.below(count) == 0 {
                    goes_on = Some((state.clone(), keep, random.clone()));
                }
                let dir = self.dir_new();
                state.leave(keep, random, &dir);
                self.open(&dir);
                let found = read_all(&self.log);
                self.check_step(&before, &found);
                self.check_step(&found, &after);
                self.compact(1_000, 0, u32::MAX);
                self.check();
            }
        });
        // Once more: the checks have compacted it to the end.
        let Some((state, keep, mut random)) = goes_on else { return };
        let dir = self.dir_new();
        state.leave(keep, &mut random, &dir);
        self.open(&dir);
        self.check_lookups();
    }

    fn dir_new(&mut self) -> std::path::PathBuf {
        self.dirs += 1;
        self.root.path().join(self.dirs.to_string())
    }

    fn check(&self) {
        let log = &self.log;
        let found = read_all(log);
        assert_eq!(found.len(), self.entries.len());
        for (found, old) in found.iter().zip(&self.entries) {
            assert_eq!(found.id, old.id);
            assert_eq!(log.term_of(old.id.index), Some(old.id.term));
            match (&found.body, &old.body) {
                (EntryBody::Batch(found), EntryBody::Batch(old)) => {
                    let header = |bytes| BatchHeader::parse(bytes).unwrap();
                    assert!(is_same_place(&header(found), &header(old)), "{found:?} {old:?}");
                }
                (found, old) => assert_eq!(found, old),
            }
        }
        assert_eq!(newest(&seen(&found)), newest(&seen(&self.entries)));
        let start = log.start_offset();
        let slices = log.slices(start, log.end_offset(), 1 << 30, true).unwrap();
        assert_eq!(read_slices(&slices), batch_bytes(&found));
    }

    /// Each batch is found by each way that leads to it.
    fn check_lookups(&self) {
        let log = &self.log;
        for entry in read_all(log) {
            let EntryBody::Batch(bytes) = &entry.body else { continue };
            let header = BatchHeader::parse(bytes).unwrap();
            let from = header.last_offset();
            let slices = log.slices(from, from.advance(1), 0, true).unwrap();
            assert_eq!(read_slices(&slices), bytes[..]);
            assert_eq!(log.offset_of(entry.id.index).unwrap(), header.base_offset);
        }
    }
}

/// A log none of whose files changes without its disk's knowing.
fn open_on_disk(dir: &Path) -> (Arc<FaultDisk>, Log) {
    let disk = Arc::new(FaultDisk::new(dir));
    let storage = Storage::new(StorageOptions {
        disk: Arc::clone(&disk) as Arc<dyn crate::storage::Disk>,
        fatal: Arc::new(|doing, error| panic!("{doing}: {error}")),
        ..few_open()
    });
    let (log, report) = Log::open(dir, &identity(), small(), &storage.inline(), None).unwrap();
    assert_eq!(report.cut_bytes, 0);
    (disk, log)
}

#[test]
fn keeps_what_a_map_would() {
    let default = ProptestConfig::default();
    // `PROPTEST_CASES` asks for more.
    let cases = default.cases.max(1_000);
    let config = ProptestConfig { cases, failure_persistence: None, ..default };
    let power_cuts = Cell::new(0);
    let histories = prop::collection::vec(step(), 4..24);
    let result = TestRunner::new(config).run(&histories, |steps| {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            model.check();
        }
        model.committed = model.next();
        model.compact(1_000, 0, u32::MAX);
        model.check();
        model.check_lookups();
        power_cuts.set(power_cuts.get() + model.power_cuts);
        Ok(())
    });
    println!("compactions: {cases} histories, {} power cuts within", power_cuts.get());
    result.unwrap_or_else(|failed| panic!("{failed}"));
}

/// A log of records `(key, value)`, one batch each, in several segments.
fn keyed(dir: &Path, records: impl IntoIterator<Item = (u32, Option<usize>)>) -> Log {
    let (log, _) = open(dir);
    append_each(&log, &[blank(1, 0)]);
    for (index, (key, value)) in (1..).zip(records) {
        let mut builder = BatchBuilder::new(Compression::None);
        let value = value.map(|len| vec![b'v'; len]);
        let time = timestamp(1_000 * index as i64);
        builder.append(time, Some(&key.to_be_bytes()), value.as_deref(), &[]);
        let body = EntryBody::Produced(builder.build().unwrap());
        append_each(&log, &[LogEntry::new(1, index, body)]);
    }
    log
}

fn everything(log: &Log) -> Committed {
    let next_index = log.last().map_or(0, |last| last.index + 1);
    Committed { next_index, high_watermark: log.end_offset() }
}

fn compact(log: &Log, now: i64, committed: Committed) -> Result<Compacted, LogError> {
    log.compact(&mut Compaction {
        limits: LIMITS,
        now: timestamp(now),
        committed,
        map_bytes_max: 1 << 20,
        pace: &mut |_| true,
    })
}

#[test]
fn dirt_is_what_is_sealed_committed_old_enough_and_not_covered_yet() {
    let dir = tempfile::tempdir().unwrap();
    // Three batches of 580 bytes and a bit to a segment.
    let log = keyed(dir.path(), (0..12).map(|n| (n % 3, Some(500))));
    let segments = log.segments().unwrap();
    assert_eq!(segments.len(), 4);
    let bytes =
        |range: std::ops::Range<usize>| segments[range].iter().map(|s| s.bytes).sum::<u64>();
    let all = everything(&log);
    let dirt = |limits, committed| log.dirt(&limits, timestamp(100_000), committed).unwrap();
    let found = dirt(LIMITS, all).unwrap();
    assert_eq!((found.clean_bytes, found.dirty_bytes), (0, bytes(0..3)));
    assert!(!found.is_overdue && found.ratio() > 0.99);

    let part = Committed { next_index: segments[2].first_index, high_watermark: Offset(6) };
    assert_eq!(dirt(LIMITS, part).unwrap().dirty_bytes, bytes(0..2));
    let none = Committed { next_index: 2, high_watermark: Offset(1) };
    assert_eq!(dirt(LIMITS, none), None);
    let young = CompactionLimits { lag_min_ms: 100_000 - 6_000, ..LIMITS };
    assert_eq!(dirt(young, all).unwrap().dirty_bytes, bytes(0..2), "exactly as old as needed");
    let young = CompactionLimits { lag_min_ms: 99_999, ..LIMITS };
    assert_eq!(dirt(young, all), None);
    for (lag_max_ms, is_overdue) in [(98_999, true), (99_000, false)] {
        let limits = CompactionLimits { lag_max_ms, ..LIMITS };
        assert_eq!(dirt(limits, all).unwrap().is_overdue, is_overdue);
    }

    let done = compact(&log, 100_000, part).unwrap();
    assert_eq!((done.upto, done.records_dropped, done.segments), (Offset(6), 3, 1));
    let found = dirt(LIMITS, all).unwrap();
    assert_eq!(found.dirty_bytes, bytes(2..3));
    assert!(found.clean_bytes < bytes(0..2));
    compact(&log, 100_000, all).unwrap();
    assert_eq!(dirt(LIMITS, all), None);
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!(log.dirt(&LIMITS, timestamp(100_000), all).unwrap(), None, "it is remembered");
}

#[test]
fn readers_of_the_old_segment_go_on_and_the_index_is_the_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let log = keyed(dir.path(), (0..30).map(|n| (n % 2, Some(100))));
    let old = log.slices(Offset(0), Offset(30), 1 << 20, true).unwrap();
    let before = read_slices(&old);
    let parts = log.parts().unwrap();
    compact(&log, 0, everything(&log)).unwrap();
    assert_eq!(read_slices(&old), before);
    let walked = log.walk_to_index(&parts[0], 5).unwrap().cursor.next_offset;
    assert_eq!(walked, Offset(4));
    assert!(log.size_bytes().unwrap() < before.len() as u64);
    let headers: Vec<_> = log.batch_headers(Offset(0), Offset(30)).unwrap().flatten().collect();
    assert_eq!(headers.len(), 30);
    assert!(headers[..12].iter().all(|batch| batch.header.record_count == 0));
}

#[test]
fn a_batch_without_sound_records_or_a_taken_name_leave_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let entries: Vec<_> = (1..9).map(|n| batch(1, n, 2, 500)).collect();
    append_each(&log, &[blank(1, 0)]);
    let want = append_each(&log, &entries);
    assert!(matches!(compact(&log, 0, everything(&log)), Err(LogError::Uncompactable { .. })));
    assert_eq!(read_all(&log)[1..], want);

    let dir = tempfile::tempdir().unwrap();
    let log = keyed(dir.path(), (0..12).map(|n| (n % 3, Some(500))));
    let want = read_all(&log);
    let taken = dir.path().join("00000000000000000000.log.tmp");
    std::fs::create_dir(&taken).unwrap();
    assert!(matches!(compact(&log, 0, everything(&log)), Err(LogError::Refused { .. })));
    assert_eq!(read_all(&log), want);
    std::fs::remove_dir(&taken).unwrap();
    assert!(compact(&log, 0, everything(&log)).unwrap().records_dropped > 0);
}

#[test]
fn a_log_that_was_emptied_is_dirty_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = keyed(dir.path(), (0..12).map(|n| (n % 3, Some(500))));
    compact(&log, 0, everything(&log)).unwrap();
    log.reset(crate::storage::EntryId::new(2, 4), Offset(3)).unwrap();
    assert!(!dir.path().join("cleaned").exists());
    append_each(&log, &[blank(3, 5)]);
    append_each(&log, &(6..14).map(|n| batch(3, n, 1, 500)).collect::<Vec<_>>());
    let dirt = log.dirt(&LIMITS, timestamp(0), everything(&log)).unwrap().unwrap();
    assert_eq!(dirt.clean_bytes, 0);
}

#[test]
fn a_compaction_is_asked_at_each_segment_whether_it_goes_on_and_leaves_what_it_was_at() {
    let dir = tempfile::tempdir().unwrap();
    let log = keyed(dir.path(), (0..12).map(|n| (n % 3, Some(500))));
    let all = everything(&log);
    let bytes: u64 = log.segments().unwrap()[..3].iter().map(|s| s.bytes).sum();
    let mut told = Vec::new();
    let mut compact_with = |questions: usize| {
        told.clear();
        let done = log.compact(&mut Compaction {
            limits: LIMITS,
            now: timestamp(0),
            committed: all,
            map_bytes_max: 1 << 20,
            pace: &mut |bytes| {
                told.push(bytes);
                told.len() < questions
            },
        });
        (done.unwrap(), told.clone())
    };
    // Three segments are mapped, then each is written anew.
    let (done, told) = compact_with(2);
    assert_eq!((done.finished, done.segments, told.len()), (false, 0, 2));
    let (done, told) = compact_with(5);
    assert_eq!((done.finished, done.segments, told.len()), (false, 1, 5));
    assert!(!dir.path().join("00000000000000000003.log.tmp").exists());
    let (done, told) = compact_with(usize::MAX);
    assert!(done.finished && told.iter().sum::<u64>() > bytes, "{told:?}");
}

#[test]
fn a_segment_whose_newest_record_is_gone_is_looked_into_once() {
    let dir = tempfile::tempdir().unwrap();
    // Timestamps in order, but for the first three, which are newest and soon superseded.
    let (log, _) = open(dir.path());
    let put = |index: u64| {
        let mut builder = BatchBuilder::new(Compression::None);
        let time = if index < 4 { 1_000_000 } else { index as i64 };
        builder.append(timestamp(time), Some(&[index as u8 % 3]), Some(&[b'v'; 60]), &[]);
        LogEntry::new(1, index, EntryBody::Produced(builder.build().unwrap()))
    };
    append_each(&log, &[vec![blank(1, 0)], (1..200).map(put).collect()].concat());
    log.sync_blocking().unwrap();
    compact(&log, 0, everything(&log)).unwrap();
    assert!(log.segment_count() > 5);

    let looks = Cell::new(0);
    let newest = || {
        looks.set(0);
        log.newest_record(Offset(199), |from, upto| {
            looks.set(looks.get() + 1);
            let mut newest: Option<NewestRecord> = None;
            for slice in log.slices(from, upto, 1 << 20, true)? {
                for batch in batches(slice.read().unwrap()) {
                    let batch = RecordBatch::decode(&batch.unwrap(), 1 << 20).unwrap();
                    for record in batch.iter().map(Result::unwrap) {
                        let (offset, timestamp) = (record.offset, record.timestamp);
                        if newest.is_none_or(|newest| newest.timestamp < timestamp) {
                            newest =
                                Some(NewestRecord { offset, timestamp, epoch: LeaderEpoch(1) });
                        }
                    }
                }
            }
            Ok::<_, LogError>(newest)
        })
        .unwrap()
        .map(|newest| (newest.offset.0, newest.timestamp.0))
    };
    assert_eq!((newest(), looks.get()), (Some((198, 199)), 2), "the last, and the first");
    assert_eq!((newest(), looks.get()), (Some((198, 199)), 1), "the last, which grows");
}
