//! Append, read, roll, truncate, purge, reset, reopen.

use super::*;
use crate::model::LeaderEpoch;
use crate::storage::EntryId;
use crate::storage::index::crc_of;
use crate::storage::segment_head::StoredHead;

fn mixed(term: u64, from: u64, count: u64) -> Vec<LogEntry> {
    (from..from + count)
        .map(|index| match index % 5 {
            0 => blank(term, index),
            1 => LogEntry::new(term, index, EntryBody::Membership(Bytes::from_static(b"member"))),
            2 => LogEntry::new(term, index, EntryBody::Void),
            _ => batch(term, index, 1 + (index % 3) as i32, 100 + (index as usize * 13) % 200),
        })
        .collect()
}

#[test]
fn offsets_begin_at_0_and_frames_take_none() {
    let dir = tempfile::tempdir().unwrap();
    let (log, report) = open(dir.path());
    assert!(report.created);
    let entries = [blank(1, 0), batch(1, 1, 3, 10), blank(2, 2), batch(2, 3, 2, 10)];
    let appended = log.append(&entries).unwrap();
    assert_eq!(appended.base_offsets, [Offset(0), Offset(0), Offset(3), Offset(3)]);
    assert_eq!(appended.end_offset, Offset(5));
    assert_eq!(log.last(), Some(EntryId::new(2, 3)));
    let want: Vec<_> =
        entries.iter().zip(&appended.base_offsets).map(|(e, o)| stamped(e, *o)).collect();
    assert_eq!(read_all(&log), want);
}

#[test]
fn reads_back_the_same_from_cache_and_disk_before_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Storage::default();
    let (log, _) = Log::open(dir.path(), &identity(), small(), &cached, None).unwrap();
    let want = append_each(&log, &mixed(4, 0, 60));
    assert_eq!(read_all(&log), want);
    assert!(log.segments().unwrap().len() > 3);
    log.close().unwrap();
    drop(log);
    let (log, report) = open(dir.path());
    assert!(report.clean && report.cut_bytes == 0, "{report:?}");
    assert_eq!(read_all(&log), want);
    assert_eq!(log.term_of(59), Some(4));
    let more = append_each(&log, &mixed(5, 60, 20));
    assert_eq!(read_all(&log), [want, more].concat());
    assert_eq!(log.key_ids(3, 79), [(4, 3), (5, 60), (5, 79)].map(|(t, i)| EntryId::new(t, i)));
}

#[test]
fn bytes_of_entries_are_told_over_segments_and_only_of_those_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let entries = append_each(&log, &mixed(4, 0, 60));
    let segments = log.segments().unwrap();
    assert!(segments.len() > 3);
    let size = |entry: &LogEntry| match entry.body {
        EntryBody::Batch(_) => entry.body.len() as u64,
        _ => entry.bytes(),
    };
    for (from, upto) in [(0, 60), (0, 0), (60, 60), (7, 8), (3, 51), (59, 60)] {
        let expected: u64 = entries[from..upto].iter().map(size).sum();
        assert_eq!(log.bytes_of(from as u64..upto as u64).unwrap(), expected, "{from}..{upto}");
    }
    let first = segments[2].first_index;
    log.purge(first - 1).unwrap();
    assert_eq!(log.first_index(), first);
    assert!(log.bytes_of(first..60).unwrap() > 0);
    for gone in [first - 1..60, first..61, 61..62] {
        assert!(matches!(log.bytes_of(gone), Err(LogError::OutOfRange { .. })));
    }
}

#[test]
fn refuses_what_does_not_continue_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(&[blank(2, 0), batch(2, 1, 1, 5)]).unwrap();
    assert!(matches!(log.append(&[blank(2, 3)]), Err(LogError::NotNext { .. })));
    assert!(matches!(log.append(&[blank(1, 2)]), Err(LogError::NotNext { .. })));
    assert!(matches!(log.append(&[batch(3, 2, 1, 5)]), Err(LogError::Unstorable { .. })));
    let wrong = stamped(&batch(2, 2, 1, 5), Offset(7));
    assert!(matches!(log.append(&[wrong]), Err(LogError::Diverged { .. })));
    let right = stamped(&batch(2, 2, 1, 5), Offset(1));
    let EntryBody::Batch(bytes) = &right.body else { panic!() };
    let mut flipped = bytes.to_vec();
    flipped[64] ^= 1;
    let body = EntryBody::Batch(Bytes::from(flipped));
    assert!(matches!(log.append(&[LogEntry { id: right.id, body }]), Err(LogError::Batch { .. })));
    log.append(&[right]).unwrap();
    assert_eq!(log.end_offset(), Offset(2));
}

#[test]
fn a_batch_above_the_segment_size_gets_a_segment_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let entries =
        [blank(1, 0), batch(1, 1, 1, 9000), batch(1, 2, 1, 10), batch(1, 3, 1, 5000), blank(2, 4)];
    let want = append_each(&log, &entries);
    assert_eq!(read_all(&log), want);
    assert_eq!(log.segments().unwrap().len(), 5);
    drop(log);
    assert_eq!(read_all(&open(dir.path()).0), want);
}

#[test]
fn segments_without_records_share_a_base_offset_under_different_names() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let command = |index| {
        LogEntry::new(1, index, EntryBody::Command(Bytes::from(vec![index as u8 | 1; 500])))
    };
    let want = append_each(&log, &(0..20).map(command).collect::<Vec<_>>());
    assert!(log.segments().unwrap().len() >= 5);
    assert_eq!(log.end_offset(), Offset(0));
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!(read_all(&log), want);
    log.purge(9).unwrap();
    assert!(log.segments().unwrap()[0].first_index > 0);
    assert_eq!(read_all(&log), want[10..]);
    drop(log);
    assert_eq!(read_all(&open(dir.path()).0), want[10..]);
}

#[test]
fn truncates_anywhere_and_goes_on() {
    for keep in [0_u64, 1, 7, 23, 24, 39, 40] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path());
        let want = append_each(&log, &mixed(1, 0, 40));
        log.sync_blocking().unwrap();
        log.truncate_after(keep.checked_sub(1)).unwrap();
        assert_eq!(read_all(&log), want[..keep as usize]);
        assert_eq!(log.last().map(|l| l.index), keep.checked_sub(1));
        assert_eq!(log.durable_end().next_index, keep);
        let more = append_each(&log, &[&[blank(3, keep)], &mixed(3, keep + 1, 20)[..]].concat());
        let want = [&want[..keep as usize], &more].concat();
        assert_eq!(read_all(&log), want, "{keep}");
        drop(log);
        let (log, report) = open(dir.path());
        assert_eq!(report.cut_bytes, 0);
        assert_eq!(read_all(&log), want, "{keep}");
        assert_eq!(log.term_of(keep), Some(3));
    }
}

#[test]
fn purge_moves_the_start_and_deletes_whole_segments_only() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let want = append_each(&log, &mixed(1, 0, 60));
    let files = log.segments().unwrap().len();
    log.purge(30).unwrap();
    assert!(log.segments().unwrap().len() < files);
    assert_eq!(log.purged(), Some(EntryId::new(1, 30)));
    assert_eq!((log.term_of(30), log.term_of(29)), (Some(1), None));
    assert!(matches!(log.read_entries(30..40, 10), Err(LogError::OutOfRange { .. })));
    assert_eq!(read_all(&log), want[31..]);
    let start = log.start_offset();
    assert_eq!(start, log.offset_of(31).unwrap());
    assert!(matches!(
        log.slices(start.advance(-1), Offset(i64::MAX), 10, true),
        Err(LogError::OffsetOutOfRange { .. })
    ));
    log.purge(12).unwrap();
    assert!(matches!(log.purge(60), Err(LogError::OutOfRange { .. })));
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!((log.start_offset(), log.purged()), (start, Some(EntryId::new(1, 30))));
    assert_eq!(read_all(&log), want[31..]);
    log.purge(59).unwrap();
    assert_eq!(log.last(), Some(EntryId::new(1, 59)));
    assert_eq!(log.start_offset(), log.end_offset());
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!(log.last(), Some(EntryId::new(1, 59)));
    let more = append_each(&log, &mixed(1, 60, 10));
    assert_eq!(read_all(&log), more);
}

#[test]
fn reset_goes_on_where_a_snapshot_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    append_each(&log, &mixed(1, 0, 30));
    log.reset(EntryId::new(4, 99), Offset(500)).unwrap();
    assert_eq!((log.last(), log.purged()), (Some(EntryId::new(4, 99)), log.last()));
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(500), Offset(500)));
    let want = append_each(&log, &[batch(4, 100, 2, 50), blank(5, 101)]);
    assert_eq!(log.end_offset(), Offset(502));
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!(read_all(&log), want);
    assert_eq!(
        log.epoch_end_offset(LeaderEpoch(4), Offset(9)),
        Some((LeaderEpoch(4), Offset(502)))
    );
}

#[test]
fn a_reset_that_a_crash_interrupted_is_finished_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    append_each(&log, &mixed(1, 0, 30));
    log.sync_blocking().unwrap();
    drop(log);
    let mark = crate::storage::retained::Retained {
        purged: EntryId::new(7, 10),
        start_offset: Offset(33),
        resetting: true,
    };
    mark.write(dir.path(), &crate::storage::SystemDisk).unwrap();
    let (log, _) = open(dir.path());
    assert_eq!(log.last(), Some(EntryId::new(7, 10)));
    assert_eq!(log.end_offset(), Offset(33));
    let want = append_each(&log, &[batch(7, 11, 1, 5)]);
    drop(log);
    assert_eq!(read_all(&open(dir.path()).0), want);
}

#[test]
fn an_index_that_is_deleted_or_damaged_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let want = append_each(&log, &mixed(1, 0, 80));
    log.close().unwrap();
    drop(log);
    let indexes = |f: &dyn Fn(&Path)| {
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "index") {
                f(&path);
            }
        }
    };
    let check = || {
        let (log, _) = open(dir.path());
        assert_eq!(read_all(&log), want);
        for entry in &want {
            let offset = log.offset_of(entry.id.index).unwrap();
            let slices = log.slices(offset, log.end_offset(), 1 << 20, true).unwrap();
            assert_eq!(read_slices(&slices), batch_bytes(&want[entry.id.index as usize..]));
        }
        log.close().unwrap();
    };
    indexes(&|path| std::fs::remove_file(path).unwrap());
    check();
    indexes(&|path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes.iter_mut().skip(40).for_each(|b| *b = !*b);
        std::fs::write(path, bytes).unwrap();
    });
    check();
    // Entries that are sound but belong to another log's bytes.
    indexes(&|path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[8..12].copy_from_slice(&77_u32.to_be_bytes());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let segment = path.with_file_name(format!("{name}.log"));
        let head = StoredHead::read(&segment).unwrap().unwrap().head;
        let crc = crc32c::crc32c_append(crc_of(&head), &bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(path, bytes).unwrap();
    });
    check();
}

/// As where a folder was restored file by file: all entries are where this log has its own, but for their times.
#[test]
fn an_index_of_another_log_is_not_believed() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ids = [identity(), LogIdentity { topic_id: TopicId(9), ..identity() }];
    let fill = |dir: &Path, identity: &LogIdentity, time: i64| {
        let (log, _) = Log::open(dir, identity, small(), &uncached(), None).unwrap();
        let batches = (1..60).map(|index| batch_at(1, index, time + index as i64, 100));
        append_each(&log, &std::iter::once(blank(1, 0)).chain(batches).collect::<Vec<_>>());
        log.close().unwrap();
    };
    fill(dirs[0].path(), &ids[0], 1_000);
    fill(dirs[1].path(), &ids[1], 0);
    let first = "00000000000000000000.index";
    std::fs::copy(dirs[1].path().join(first), dirs[0].path().join(first)).unwrap();
    let (log, _) = open(dirs[0].path());
    let found = log.offset_for_timestamp(Timestamp(1_001), Offset::ZERO, log.end_offset()).unwrap();
    assert_eq!(found.map(|(batch, _)| batch.header.base_offset), Some(Offset::ZERO));
}

#[test]
fn a_foreign_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let mut other = identity();
    other.topic_id = TopicId(9);
    let result = Log::open(dir.path(), &other, small(), &uncached(), None);
    assert!(matches!(result, Err(LogError::WrongIdentity { .. })));
    assert_eq!(crate::storage::read_identity(dir.path()).unwrap(), Some(identity()));
}

#[test]
fn a_missing_segment_is_lost_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    append_each(&log, &mixed(1, 0, 60));
    log.close().unwrap();
    drop(log);
    let paths = super::super::open::segment_paths(dir.path()).unwrap();
    for gone in [0, 1, paths.len() - 1] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        std::fs::remove_file(copy.path().join(paths[gone].file_name().unwrap())).unwrap();
        let error = open_err(copy.path(), None);
        assert!(matches!(error, LogError::Lost { .. }), "{gone}: {error}");
    }
}

#[test]
fn a_thousand_small_logs_open_cheaply() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::default();
    let open_all = || -> Vec<(Log, Recovery)> {
        (0..1000)
            .map(|n| {
                let dir = dir.path().join(format!("t-{n}"));
                Log::open(&dir, &identity(), LogOptions::default(), &storage, None).unwrap()
            })
            .collect()
    };
    let (tell, told) = std::sync::mpsc::channel();
    for (log, _) in open_all() {
        log.append(&[blank(1, 0), batch(1, 1, 1, 100)]).unwrap();
        let tell = tell.clone();
        log.sync(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    }
    drop(tell);
    assert_eq!(told.iter().filter(|ok| *ok).count(), 1000);
    for (log, recovery) in open_all() {
        assert_eq!(log.end_offset(), Offset(1));
        // What was written is looked at, and none of the space that was set aside behind it.
        assert!(recovery.checked_bytes < 1_024, "{recovery:?}");
        assert_eq!(recovery.cut_bytes, 0);
    }
}

#[test]
fn room_is_taken_before_it_is_needed_and_never_for_what_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        roll: RollLimits { bytes: 20_000, ..small().roll },
        preallocate_max_bytes: 2048,
        ..small()
    };
    let (log, _) = Log::open(dir.path(), &identity(), options, &uncached(), None).unwrap();
    let files = || {
        let mut files: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == "log"));
        files.sort();
        files.iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>()
    };
    let mut ahead = 0;
    for index in 0.. {
        let before = files();
        log.append(&[batch(1, index, 1, 100)]).unwrap();
        let (end, now) = (log.segments().unwrap().last().unwrap().bytes, files());
        if now.len() == 2 {
            // The next one was made as a whole; the closed one keeps its room until the next sync.
            break;
        }
        if now[0] > before[0] && end + 161 < before[0] {
            ahead += 1;
        }
        assert!(now[0] >= (end + 1024).min(20_000) || now[0] < 4096, "{end} {now:?}");
    }
    assert!(ahead >= 6, "{ahead}");
    log.sync_blocking().unwrap();
    let closed = log.segments().unwrap()[0].bytes;
    assert_eq!(files()[0], closed);
    log.truncate_after(Some(20)).unwrap();
    assert_eq!(files(), [log.segments().unwrap()[0].bytes]);
}
