//! Which segments are picked by time, by size and below the start offset; when segments roll by time.

use super::*;
use crate::storage::{Committed, RetainFrom, RetentionLimits};

const NONE: RetentionLimits = RetentionLimits { ms: None, bytes: None };

fn everything(log: &Log) -> Committed {
    let next_index = log.last().map_or(0, |last| last.index + 1);
    Committed { next_index, high_watermark: log.end_offset() }
}

fn picked(log: &Log, limits: RetentionLimits, now: i64) -> Option<i64> {
    let from = log.retain_from(limits, timestamp(now), everything(log)).unwrap()?;
    assert!(
        log.segments()
            .unwrap()
            .iter()
            .any(|s| { s.first_index == from.first_index || s.end_offset == from.start_offset })
    );
    Some(from.start_offset.0)
}

/// Segments of three batches of one record, the n-th with timestamp 1,000 × n.
fn filled(dir: &Path) -> Log {
    let (log, _) = open(dir);
    append_each(&log, &[blank(1, 0)]);
    append_each(&log, &(1..=12).map(|n| batch_at(1, n, 1000 * n as i64, 500)).collect::<Vec<_>>());
    assert_eq!(log.segments().unwrap().len(), 4);
    log
}

#[test]
fn by_time_the_oldest_whose_newest_record_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let limits = RetentionLimits { ms: Some(2_000), bytes: None };
    for reopened in [false, true] {
        let log = if reopened { open(dir.path()).0 } else { log.clone() };
        assert_eq!(picked(&log, limits, 5_000), None, "exactly as old as allowed");
        assert_eq!(picked(&log, limits, 5_001), Some(3));
        assert_eq!(picked(&log, limits, 8_001), Some(6));
        assert_eq!(picked(&log, limits, 14_000), Some(9));
        assert_eq!(picked(&log, limits, 14_001), Some(12), "the active one too");
        assert_eq!(picked(&log, NONE, i64::MAX), None);
        log.sync_blocking().unwrap();
    }
}

#[test]
fn a_newer_record_keeps_its_segment_and_those_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let times = [1, 2, 3, 4, 90_000, 6, 7, 8, 9, 10];
    let entries: Vec<_> =
        (0_u64..).zip(times).map(|(n, time)| batch_at(1, n + 1, time, 500)).collect();
    append_each(&log, &[blank(1, 0)]);
    append_each(&log, &entries);
    let limits = RetentionLimits { ms: Some(10), bytes: None };
    assert_eq!(picked(&log, limits, 1_000), Some(3));
}

#[test]
fn by_size_the_oldest_as_long_as_the_rest_is_large_enough() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let sizes: Vec<u64> = log.segments().unwrap().iter().map(|s| s.bytes).collect();
    assert_eq!(log.size_bytes().unwrap(), sizes.iter().sum::<u64>());
    let keep = |bytes| picked(&log, RetentionLimits { ms: None, bytes: Some(bytes) }, 0);
    let rest = |from: usize| sizes[from..].iter().sum::<u64>();
    assert_eq!(keep(rest(1) + 1), None);
    assert_eq!(keep(rest(1)), Some(3));
    assert_eq!(keep(rest(3)), Some(9));
    assert_eq!(keep(0), Some(12));
}

#[test]
fn nothing_that_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let limits = RetentionLimits { ms: None, bytes: Some(0) };
    let mut committed = Committed { next_index: 8, high_watermark: Offset(6) };
    let from = log.retain_from(limits, timestamp(0), committed).unwrap();
    assert_eq!(from, Some(RetainFrom { first_index: 7, start_offset: Offset(6) }));
    committed.high_watermark = Offset(5);
    let from = log.retain_from(limits, timestamp(0), committed).unwrap();
    assert_eq!(from, Some(RetainFrom { first_index: 4, start_offset: Offset(3) }));
    committed = Committed { next_index: 2, high_watermark: Offset(1) };
    assert_eq!(log.retain_from(limits, timestamp(0), committed).unwrap(), None);
    assert_eq!(log.first_index_for(Offset(6), Committed { next_index: 4, ..committed }), 4);
    assert_eq!(log.first_index_for(Offset(7), everything(&log)), 7);
    assert_eq!(log.first_index_for(Offset(12), everything(&log)), 10);
}

#[test]
fn the_start_offset_lies_inside_a_segment_and_takes_whole_ones_along() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    log.raise_start(Offset(4));
    log.raise_start(Offset(2));
    assert_eq!(log.start_offset(), Offset(4));
    assert!(log.slices(Offset(3), Offset(12), 1, true).is_err());
    assert_eq!(log.slices(Offset(4), Offset(12), 1, true).unwrap().len(), 1);
    let from = log.retain_from(NONE, timestamp(0), everything(&log)).unwrap();
    assert_eq!(from, Some(RetainFrom { first_index: 4, start_offset: Offset(4) }));
    log.purge(3).unwrap();
    assert_eq!(log.start_offset(), Offset(4), "a purge does not lower it");
    assert_eq!(log.retain_from(NONE, timestamp(0), everything(&log)).unwrap(), None);
    log.raise_start(Offset(99));
    assert_eq!(log.start_offset(), Offset(12));
    assert_eq!(log.history(0..u64::MAX).count(), 9, "deleted records still tell the history");
}

#[test]
fn purged_segments_are_counted_and_their_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let storage = uncached();
    let (log, _) = Log::open(dir.path(), &identity(), small(), &storage, None).unwrap();
    append_each(&log, &[blank(1, 0)]);
    append_each(&log, &(1..=12).map(|n| batch_at(1, n, n as i64, 500)).collect::<Vec<_>>());
    let sizes: Vec<u64> = log.segments().unwrap().iter().map(|s| s.bytes).collect();
    log.purge(6).unwrap();
    let purged = storage.purged();
    assert_eq!((purged.segments, purged.bytes), (2, sizes[0] + sizes[1]));
    assert_eq!(log.size_bytes().unwrap(), sizes[2] + sizes[3]);
    let left = || std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    while left().any(|path| path.extension().is_some_and(|e| e == "gone")) {
        std::thread::yield_now();
    }
    assert_eq!(left().filter(|path| path.extension().is_some_and(|e| e == "log")).count(), 2);
}

#[test]
fn a_segment_is_closed_before_a_batch_that_is_much_newer_than_its_first() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.set_roll_limits(RollLimits { bytes: 1 << 20, ms: 100, jitter_ms: 0 });
    append_each(&log, &[blank(1, 0), batch_at(1, 1, 1_000, 10), batch_at(1, 2, 1_100, 10)]);
    assert_eq!(log.segments().unwrap().len(), 1);
    drop(log);
    // The first batch's time is read again.
    let (log, _) = open(dir.path());
    log.set_roll_limits(RollLimits { bytes: 1 << 20, ms: 100, jitter_ms: 0 });
    let more = [batch_at(1, 3, 1_050, 10), batch_at(1, 4, 1_101, 10), batch_at(1, 5, 1_201, 10)];
    log.append(&more).unwrap();
    append_each(&log, &[batch_at(1, 6, 1_202, 10)]);
    let firsts: Vec<u64> = log.segments().unwrap().iter().map(|s| s.first_index).collect();
    assert_eq!(firsts, [0, 4, 6]);
}

#[test]
fn sealing_closes_what_is_to_be_purged_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.seal_below(5).unwrap();
    assert_eq!(log.segments().unwrap().len(), 1, "an empty segment stays");
    append_each(&log, &[blank(1, 0), batch(1, 1, 1, 10)]);
    log.seal_below(2).unwrap();
    log.seal_below(2).unwrap();
    assert_eq!(log.segments().unwrap().len(), 2);
    log.set_roll_limits(RollLimits { bytes: 500, ..RollLimits::default() });
    append_each(&log, &(2..6).map(|n| batch(1, n, 1, 100)).collect::<Vec<_>>());
    assert!(log.segments().unwrap().len() > 2, "a new size counts from now on");
}
