//! Segments that are closed because too many are open, and opened again.

use super::*;
use crate::model::batch_builder::BatchBuilder;
use crate::model::compression::Compression;
use crate::storage::{Committed, Compaction, CompactionLimits, EntryId};

/// As [`uncached`], with so many open segments.
fn with_open_max(open_segments_max: usize) -> Storage {
    let fatal = Arc::new(|_: &str, _: &std::io::Error| {});
    Storage::new(StorageOptions { fatal, open_segments_max, ..few_open() }).without_looks()
}

fn open_in(dir: &Path, storage: &Storage) -> Log {
    Log::open(dir, &identity(), small(), storage, None).unwrap().0
}

/// A synced log of about 30 segments, and what it holds.
fn filled(dir: &Path, storage: &Storage) -> (Log, Vec<LogEntry>) {
    let log = open_in(dir, storage);
    let mut entries = vec![blank(1, 0)];
    entries.extend((1..300).map(|index| batch_at(1, index, index as i64, 100)));
    let entries = append_each(&log, &entries);
    log.sync_blocking().unwrap();
    assert!(log.segment_count() > 20);
    (log, entries)
}

/// How many descriptors this process has for files in `dir`.
fn descriptors(dir: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    links.filter(|path| path.starts_with(dir)).count()
}

#[test]
fn whatever_is_read_is_found_while_few_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(3);
    let (log, entries) = filled(dir.path(), &storage);
    for stride in [1, 7, 101] {
        for step in 0..300 {
            let index = step * stride % 299 + 1;
            let offset = Offset(index as i64 - 1);
            let wanted = &entries[index as usize..=index as usize];
            let slices = log.slices(offset, offset.advance(1), 1, true).unwrap();
            assert_eq!(read_slices(&slices), batch_bytes(wanted));
            assert_eq!(log.read_entries(index..index + 1, 1).unwrap(), wanted);
            let time = timestamp(index as i64);
            let found = log.offset_for_timestamp(time, Offset(0), log.end_offset()).unwrap();
            assert_eq!(found.unwrap().0.index, index);
            let open = storage.open_segments();
            assert!(open <= 3, "{open} are open");
            drop(slices);
            assert!(descriptors(dir.path()) <= 3, "{}", descriptors(dir.path()));
        }
    }
    assert_eq!(read_all(&log), entries);
    assert_eq!(log.max_timestamp(Offset::ZERO, log.end_offset()).unwrap().unwrap().0.index, 299);
}

#[test]
fn a_slice_is_read_whatever_was_closed_or_purged_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(2);
    let (log, entries) = filled(dir.path(), &storage);
    let held = log.slices(Offset(0), log.end_offset(), usize::MAX, true).unwrap();
    assert!(held.len() > 20 && descriptors(dir.path()) <= 2, "of a segment each");
    assert_eq!(read_slices(&held), batch_bytes(&entries));
    let reset_to = EntryId::new(2, 1_000);
    log.purge(250).unwrap();
    assert_eq!(read_slices(&held), batch_bytes(&entries));
    log.reset(reset_to, Offset(999)).unwrap();
    assert_eq!(read_slices(&held), batch_bytes(&entries));
    assert!(descriptors(dir.path()) > 20);
    drop(held);
    assert!(descriptors(dir.path()) <= 2, "they go with the last reader");
}

#[test]
fn a_file_in_use_is_not_opened_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(2);
    let (log, _) = filled(dir.path(), &storage);
    let mut walk = log.batch_headers(Offset(0), Offset(5)).unwrap();
    walk.next().unwrap().unwrap();
    for offset in 0..299 {
        log.slices(Offset(offset), Offset(offset + 1), 1, true).unwrap();
        assert!(descriptors(dir.path()) <= 2);
    }
    assert_eq!(walk.count(), 4);
}

#[test]
fn what_is_not_synced_stays_open_and_an_idle_log_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(2);
    let logs: Vec<Log> =
        (0..6).map(|n| open_in(&dir.path().join(n.to_string()), &storage)).collect();
    for log in &logs {
        append_each(log, &[blank(1, 0), batch(1, 1, 1, 50)]);
    }
    assert_eq!(storage.open_segments(), 6, "a failed write is told to those that had it open");
    logs.iter().for_each(|log| log.sync_blocking().unwrap());
    // Appended to after the sync: it stays, and the others make room.
    append_each(&logs[3], &[batch(1, 2, 1, 50)]);
    let other = open_in(&dir.path().join("other"), &storage);
    assert_eq!(storage.open_segments(), 2);
    assert_eq!(descriptors(&dir.path().join("3")), 1);
    other.sync_blocking().unwrap();
    for (n, log) in logs.iter().enumerate() {
        assert_eq!(read_all(log).len(), 2 + usize::from(n == 3));
        assert_eq!(storage.open_segments(), 2);
    }
    assert_eq!(descriptors(&dir.path().join("3")), 1);
    // Those that were closed are appended to as before.
    for (n, log) in logs.iter().enumerate() {
        let next = 2 + u64::from(n == 3);
        append_each(log, &(next..next + 40).map(|i| batch(1, i, 1, 90)).collect::<Vec<_>>());
        log.sync_blocking().unwrap();
    }
    drop(logs);
    for n in 0..6 {
        let dir = dir.path().join(n.to_string());
        assert_eq!(read_all(&open_in(&dir, &storage)).len(), 42 + usize::from(n == 3));
    }
}

#[test]
fn relaxed_logs_are_stored_into_whatever_was_closed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(2);
    let later = FlushPolicy::Relaxed { messages: u64::MAX, ms: u64::MAX };
    let open = |n: usize| {
        let dir = dir.path().join(n.to_string());
        let options = LogOptions { flush: later, roll: RollLimits::default(), ..small() };
        Log::open(&dir, &identity(), options, &storage, None).unwrap().0
    };
    let logs: Vec<Log> = (0..6).map(open).collect();
    let mut wanted = vec![Vec::new(); 6];
    for round in 0..4 {
        for (log, wanted) in logs.iter().zip(&mut wanted) {
            wanted.extend(append_each(log, &[batch(1, round, 1, 100)]));
            assert_eq!(descriptors(log.dir()), 1, "open as long as no sync covers what was stored");
        }
        assert_eq!(storage.open_segments(), 6);
        logs.iter().for_each(|log| log.sync_blocking().unwrap());
        // One that is opened makes room, and the others' maps go on without their files.
        drop(open_in(&dir.path().join(format!("other-{round}")), &storage));
        assert!(storage.open_segments() <= 2);
        assert!(descriptors(dir.path()) <= 2);
    }
    for (n, wanted) in wanted.iter().enumerate() {
        assert_eq!(read_all(&logs[n]), *wanted);
    }
    drop(logs);
    for (n, wanted) in wanted.iter().enumerate() {
        assert_eq!(read_all(&open(n)), *wanted, "what was stored last is there as well");
    }
}

#[test]
fn a_reader_of_a_closed_segment_goes_on_when_it_is_purged() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(1);
    let (log, entries) = filled(dir.path(), &storage);
    let mut headers = log.batch_headers(Offset(0), Offset(299)).unwrap();
    // It knows its segment but has not opened it; it and all others are closed by now.
    read_all(&log);
    log.purge(150).unwrap();
    let before = descriptors(dir.path());
    assert!(before <= 3, "{before}: only what somebody reads is held for him");
    let first = headers.next().unwrap().unwrap();
    assert_eq!((first.index, first.header.base_offset), (1, Offset(0)));
    // Then it comes to what is gone, or to the rest, and to nothing else.
    let rest: Result<Vec<_>, _> = headers.map(|found| found.map(|found| found.index)).collect();
    assert!(rest.as_ref().is_ok_and(|rest| rest.is_sorted()), "{rest:?}");
    assert_eq!(read_all(&log), entries[151..]);
    assert!(descriptors(dir.path()) <= 2);
}

#[test]
fn a_reader_of_a_closed_segment_goes_on_when_it_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(1);
    let log = open_in(dir.path(), &storage);
    let put = |index: u64| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(timestamp(index as i64), Some(b"same"), Some(&[b'v'; 60]), &[]);
        LogEntry::new(1, index, EntryBody::Produced(builder.build().unwrap()))
    };
    append_each(&log, &[vec![blank(1, 0)], (1..120).map(put).collect()].concat());
    log.sync_blocking().unwrap();
    let wanted: Vec<u64> = (1..10).collect();
    let mut headers = log.batch_headers(Offset(0), Offset(9)).unwrap();
    read_all(&log);
    let limits = CompactionLimits {
        dirty_ratio_min: 0.0,
        lag_min_ms: 0,
        lag_max_ms: u64::MAX,
        tombstones_ms: 0,
    };
    let committed = Committed { next_index: 120, high_watermark: Offset(119) };
    let compacted = log
        .compact(&mut Compaction {
            limits,
            now: timestamp(1_000_000),
            committed,
            map_bytes_max: 1 << 20,
            pace: &mut |_| true,
        })
        .unwrap();
    assert!(compacted.segments > 2, "{compacted:?}");
    let found: Vec<_> = headers.by_ref().map(|found| found.unwrap()).collect();
    assert!(found.iter().map(|found| found.index).eq(wanted));
    assert!(found.iter().all(|found| found.header.record_count == 1), "the segment as it was");
}

#[test]
fn an_index_that_is_lost_while_it_is_closed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_open_max(1);
    let (log, entries) = filled(dir.path(), &storage);
    assert_eq!(read_all(&log), entries);
    let paths = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|e| e == "index")) {
        std::fs::remove_file(path).unwrap();
    }
    let mut failures = 0;
    for offset in (0..299).chain(0..299) {
        match log.slices(Offset(offset), Offset(offset + 1), 1, true) {
            Ok(slices) => {
                let index = offset as usize + 1;
                assert_eq!(read_slices(&slices), batch_bytes(&entries[index..=index]));
            }
            Err(LogError::Io { .. }) => failures += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(failures <= log.segment_count(), "{failures}: each at most once");
}
