//! Torn tails, bit flips, lost files.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;
use crate::storage::frame::{FrameHeader, FrameKind};

/// A log whose first entries are synced and whose last one is not; the file, and where the last entry
/// lies in it.
fn with_unsynced_tail(dir: &Path, last: &LogEntry) -> (Vec<LogEntry>, u64, u64) {
    let (log, _) = open(dir);
    let mut want = append_each(&log, &[blank(1, 0), batch(1, 1, 2, 100), batch(1, 2, 1, 50)]);
    log.sync_blocking().unwrap();
    let begin = log.size_bytes().unwrap();
    want.extend(append_each(&log, std::slice::from_ref(last)));
    (want, begin, log.size_bytes().unwrap())
}

fn damage(dir: &Path, f: impl FnOnce(&std::fs::File)) {
    let file = OpenOptions::new().read(true).write(true).open(newest_segment(dir)).unwrap();
    f(&file);
}

fn flip(dir: &Path, position: u64) {
    damage(dir, |file| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, position).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
    });
}

/// What ends at `end` was not written to its end.
fn tear(dir: &Path, end: u64) {
    damage(dir, |file| file.write_all_at(&[0; 3], end - 3).unwrap());
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    for last in [batch(1, 3, 1, 40), LogEntry::new(2, 3, EntryBody::Command("command".into()))] {
        let dir = tempfile::tempdir().unwrap();
        let (want, begin, end) = with_unsynced_tail(dir.path(), &last);
        let segment = std::fs::read(newest_segment(dir.path())).unwrap();
        for keep in begin..end {
            // An offset's leading zeros are no tear: they are what is there anyway.
            let torn = segment[begin as usize..keep as usize].iter().any(|b| *b != 0);
            for zeros in [false, true] {
                let copy = tempfile::tempdir().unwrap();
                copy_dir(dir.path(), copy.path());
                damage(copy.path(), |file| {
                    file.set_len(keep).unwrap();
                    file.set_len(if zeros { end + 500 } else { keep }).unwrap();
                });
                let (log, report) = open(copy.path());
                assert_eq!(read_all(&log), want[..3], "{keep}");
                assert_eq!(report.cut_bytes > 0, torn, "{keep}");
                assert_eq!(report.cut_reason.is_some(), torn);
                let more = append_each(&log, &[batch(1, 3, 1, 5), blank(2, 4)]);
                drop(log);
                let (log, report) = open(copy.path());
                assert_eq!((report.cut_bytes, read_all(&log)), (0, [&want[..3], &more].concat()));
            }
        }
    }
}

#[test]
fn bytes_behind_a_cut_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let want = append_each(&log, &[blank(1, 0)]);
    log.sync_blocking().unwrap();
    // A record that holds what would be the log's next frame, right where it would be looked for
    // once a frame of 32 bytes took the torn batch's place.
    let mut payload = vec![1; 200];
    let at = 32 - 61 + 64;
    payload[at as usize - 32..][..32].copy_from_slice(&FrameHeader::encode(
        FrameKind::Blank,
        Offset(0),
        9,
        2,
        b"",
    ));
    let hostile = crate::model::record_batch::tests::opaque_batch(1, &payload);
    log.append(&[LogEntry::new(1, 1, EntryBody::Produced(hostile))]).unwrap();
    let end = log.size_bytes().unwrap();
    drop(log);
    tear(dir.path(), end);
    let (log, report) = open(dir.path());
    assert!(report.cut_bytes > 200);
    let more = append_each(&log, &[blank(1, 1)]);
    drop(log);
    assert_eq!(read_all(&open(dir.path()).0), [want, more].concat());
}

#[test]
fn a_flip_in_what_was_synced_is_refused_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (_, begin, _) = with_unsynced_tail(dir.path(), &batch(1, 3, 1, 40));
    for position in 0..begin {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        flip(copy.path(), position);
        let options = LogOptions { recheck_bytes: 1 << 20, ..small() };
        let error = Log::open(copy.path(), &identity(), options, &uncached(), None).err();
        let damaged =
            matches!(error, Some(LogError::Corrupt { .. } | LogError::WrongIdentity { .. }));
        assert!(damaged, "{position}: {error:?}");
    }
}

#[test]
fn without_a_recovery_point_the_hint_or_the_bytes_themselves_tell_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (_, begin, end) = with_unsynced_tail(dir.path(), &batch(1, 3, 1, 40));
    std::fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    // The last entry is not all there: cut, unless the hint says that it was on disk.
    tear(copy.path(), end);
    let is_short = |error| matches!(error, LogError::Short { missing_index: 3, .. });
    assert!(is_short(open_err(copy.path(), Some(3))));
    let (log, report) = open(copy.path());
    assert_eq!((log.last().unwrap().index, report.cut_bytes), (2, end - 3 - begin));
    drop(log);
    // Cut now: no more damage, but still missing.
    assert!(is_short(open_err(copy.path(), Some(3))));
    open(copy.path());
    // It is all there, and damaged: not an unfinished write.
    flip(dir.path(), end - 3);
    assert!(matches!(open_err(dir.path(), None), LogError::Corrupt { .. }));
    flip(dir.path(), end - 3);
    // Before a sound entry, with no unwritten sector: not an unfinished write.
    flip(dir.path(), begin - 3);
    let error = open_err(dir.path(), None);
    assert!(matches!(&error, LogError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("is damaged at byte"), "{error}");
}

#[test]
fn an_unwritten_sector_before_sound_entries_is_a_tear() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let options = LogOptions { roll: RollLimits { bytes: 1 << 20, ..small().roll }, ..small() };
    drop(log);
    let (log, _) = Log::open(dir.path(), &identity(), options, &uncached(), None).unwrap();
    let want = append_each(&log, &[blank(1, 0), batch(1, 1, 1, 3000), batch(1, 2, 1, 3000)]);
    drop(log);
    damage(dir.path(), |file| file.write_all_at(&[0; 512], 1024).unwrap());
    let (log, report) = open(dir.path());
    assert_eq!(read_all(&log), want[..1]);
    assert!(report.cut_bytes > 6000, "{report:?}");
}

#[test]
fn a_lost_file_or_a_short_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_, begin, _) = with_unsynced_tail(dir.path(), &batch(1, 3, 1, 40));
    damage(dir.path(), |file| file.set_len(begin - 1).unwrap());
    assert!(matches!(open_err(dir.path(), None), LogError::Lost { .. }));
    std::fs::remove_file(newest_segment(dir.path())).unwrap();
    assert!(matches!(open_err(dir.path(), None), LogError::Lost { .. }));
}

#[test]
fn a_first_segment_that_never_reached_the_disk_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(&[blank(1, 0)]).unwrap();
    drop(log);
    for len in [0, 4096] {
        damage(dir.path(), |file| {
            file.set_len(0).unwrap();
            file.set_len(len).unwrap();
        });
        assert_eq!(crate::storage::read_identity(dir.path()).unwrap(), None);
        assert!(matches!(open_err(dir.path(), Some(0)), LogError::Corrupt { .. }));
        let (log, report) = open(dir.path());
        assert!(report.created);
        assert_eq!(log.last(), None);
    }
}

#[test]
fn a_flip_is_not_replicated() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    append_each(&log, &[blank(1, 0), batch(1, 1, 2, 100)]);
    flip(dir.path(), log.size_bytes().unwrap() - 10);
    assert!(matches!(log.read_entries(0..2, 1 << 20), Err(LogError::Corrupt { .. })));
}
