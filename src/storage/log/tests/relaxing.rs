//! Logs whose batches count before they are on the disk.

use std::sync::mpsc;
use std::time::Duration;

use super::syncing::gated;
use super::*;
use crate::storage::log::flush::UNSYNCED_BYTES_MAX;

const LATER: FlushPolicy = FlushPolicy::Relaxed { messages: u64::MAX, ms: u64::MAX };

fn relaxed(flush: FlushPolicy) -> LogOptions {
    LogOptions { flush, ..small() }
}

/// Large segments, so that a roll asks for nothing.
fn wide(flush: FlushPolicy) -> LogOptions {
    LogOptions { flush, roll: RollLimits::default(), ..small() }
}

fn confirmations(log: &Log) -> mpsc::Receiver<bool> {
    let (tell, told) = mpsc::channel();
    log.confirm(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    told
}

#[test]
fn batches_count_at_once_and_what_raft_adds_once_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    let (log, _) = Log::open(dir.path(), &identity(), wide(LATER), &storage, None).unwrap();
    disk.set_shut(true);
    log.append(&[blank(1, 0)]).unwrap();
    let frame = confirmations(&log);
    disk.wait_begun(1);
    log.append(&[batch(1, 1, 2, 100)]).unwrap();
    // Its answer would stand for that of the frame before it.
    let behind = confirmations(&log);
    assert!(frame.try_recv().is_err() && behind.try_recv().is_err());
    disk.set_shut(false);
    assert!(frame.recv().unwrap() && behind.recv().unwrap());
    disk.set_shut(true);
    log.append(&[batch(1, 2, 2, 100), LogEntry::new(1, 3, EntryBody::Void)]).unwrap();
    assert_eq!(confirmations(&log).try_recv(), Ok(true));
    assert_eq!(log.unsynced_records(), 2);
    log.append(&[LogEntry::new(1, 4, EntryBody::Membership("m".into()))]).unwrap();
    let membership = confirmations(&log);
    assert!(membership.try_recv().is_err());
    disk.set_shut(false);
    assert!(membership.recv().unwrap());
    assert_eq!((log.unsynced_records(), log.durable_end().next_index), (0, 5));
}

#[test]
fn a_log_that_becomes_relaxed_has_still_to_sync_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    let durable = wide(FlushPolicy::Durable);
    let (log, _) = Log::open(dir.path(), &identity(), durable, &storage, None).unwrap();
    disk.set_shut(true);
    log.append(&[blank(1, 0), batch(1, 1, 2, 100)]).unwrap();
    log.set_flush_policy(LATER);
    log.append(&[batch(1, 2, 2, 100)]).unwrap();
    let told = confirmations(&log);
    assert!(log.is_relaxed() && told.try_recv().is_err());
    disk.set_shut(false);
    assert!(told.recv().unwrap());
    log.quiesce();
    disk.set_shut(true);
    log.append(&[batch(1, 3, 2, 100)]).unwrap();
    assert_eq!(confirmations(&log).try_recv(), Ok(true));
    log.set_flush_policy(FlushPolicy::Durable);
    log.append(&[batch(1, 4, 2, 100)]).unwrap();
    let told = confirmations(&log);
    assert!(!log.is_relaxed() && told.try_recv().is_err());
    disk.set_shut(false);
    assert!(told.recv().unwrap());
}

/// Waits for a condition that only the background brings about.
fn wait_durable(log: &Log, next_index: u64) {
    while log.durable_end().next_index < next_index {
        std::thread::yield_now();
    }
}

#[test]
fn so_many_records_or_so_much_time_lead_to_a_sync() {
    let (by_number, by_time) = (
        FlushPolicy::Relaxed { messages: 5, ms: u64::MAX },
        FlushPolicy::Relaxed { messages: u64::MAX, ms: 1 },
    );
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::default();
    let open = |name: &str, flush| {
        let dir = dir.path().join(name);
        Log::open(&dir, &identity(), wide(flush), &storage, None).unwrap().0
    };
    let log = open("number", by_number);
    log.append(&[blank(1, 0), batch(1, 1, 4, 100)]).unwrap();
    log.quiesce();
    assert_eq!(log.durable_end().next_index, 0, "four records are too few");
    log.append(&[batch(1, 2, 1, 100)]).unwrap();
    wait_durable(&log, 3);
    let log = open("time", by_time);
    for index in 0..3 {
        log.append(&[if index == 0 { blank(1, 0) } else { batch(1, index, 1, 100) }]).unwrap();
        wait_durable(&log, index + 1);
    }
}

#[test]
fn a_roll_puts_the_closed_segment_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) =
        Log::open(dir.path(), &identity(), relaxed(LATER), &Storage::default(), None).unwrap();
    append_each(&log, &[blank(1, 0)]);
    append_each(&log, &(1..7).map(|index| batch(1, index, 1, 500)).collect::<Vec<_>>());
    assert!(log.segment_count() > 1);
    wait_durable(&log, log.segments().unwrap().last().unwrap().first_index);
}

#[test]
fn what_is_stored_through_maps_is_there_for_readers_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let open = |flush| Log::open(dir.path(), &identity(), relaxed(flush), &uncached(), None);
    let (log, _) = open(LATER).unwrap();
    let mut want = append_each(&log, &[blank(1, 0)]);
    // Batches larger than a segment, steps of allocation, several of them to a call.
    for (index, bytes) in (1..).zip([10, 900, 5_000, 1, 1_500, 70_000, 300, 300, 300]) {
        want.extend(append_each(&log, &[batch(1, index, 2, bytes)]));
        assert_eq!(read_all(&log), want);
    }
    log.truncate_after(Some(7)).unwrap();
    want.truncate(8);
    want.extend(append_each(&log, &[blank(2, 8)]));
    for policy in [FlushPolicy::Durable, LATER] {
        log.set_flush_policy(policy);
        let next = want.last().unwrap().id.index + 1;
        want.extend(append_each(&log, &[batch(2, next, 1, 400), batch(2, next + 1, 1, 400)]));
        assert_eq!(read_all(&log), want);
    }
    let slices = log.slices(Offset(0), log.end_offset(), 1 << 20, true).unwrap();
    assert_eq!(read_slices(&slices), batch_bytes(&want));
    log.quiesce();
    drop(log);
    let (log, report) = open(LATER).unwrap();
    assert_eq!((read_all(&log), report.clean, report.cut_bytes), (want.clone(), false, 0));
    assert_eq!(log.unsynced_records(), 0, "what is found is put on the disk");
    let next = want.last().unwrap().id.index + 1;
    want.extend(append_each(&log, &[batch(2, next, 1, 400)]));
    log.close().unwrap();
    assert!(!dir.path().join("next.tmp").exists(), "the room is given back");
    let (log, report) = open(LATER).unwrap();
    assert_eq!((read_all(&log), report.clean), (want, true));
}

#[test]
fn what_is_to_be_looked_at_after_a_stop_is_bounded_by_bytes_too() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), &identity(), wide(LATER), &uncached(), None).unwrap();
    let bytes = 1 << 20;
    for index in 0..40 {
        assert_eq!(log.durable_end().next_index > 0, index >= 32, "{index}");
        log.append(&[batch(1, index, 1, bytes)]).unwrap();
        log.quiesce();
    }
}

/// More than it takes to wait for the disk.
fn pieces() -> impl Iterator<Item = LogEntry> {
    (1..=UNSYNCED_BYTES_MAX / (1 << 20) + 8).map(|index| batch(1, index, 1, 1 << 20))
}

#[test]
fn no_more_than_so_much_is_appended_while_a_sync_takes_long() {
    for flush in [LATER, FlushPolicy::Durable] {
        let dir = tempfile::tempdir().unwrap();
        let (disk, storage, _) = gated();
        let (log, _) = Log::open(dir.path(), &identity(), wide(flush), &storage, None).unwrap();
        log.append(&[blank(1, 0)]).unwrap();
        log.sync_blocking().unwrap();
        disk.set_shut(true);
        let (tell, told) = mpsc::channel();
        let writer = log.clone();
        let appends = std::thread::spawn(move || {
            for piece in pieces() {
                tell.send(writer.has_to_sync(piece.bytes())).unwrap();
                writer.append(&[piece]).unwrap();
            }
        });
        let before = told.iter().position(|waits| waits).unwrap() as u64;
        assert_eq!(log.last().unwrap().index, before);
        assert_eq!(before, (UNSYNCED_BYTES_MAX - 1) / (1 << 20), "{flush:?}");
        if flush == LATER {
            is_read_within_the_bar(dir.path(), &log);
        }
        disk.set_shut(false);
        appends.join().unwrap();
        assert_eq!(log.last().unwrap().index, pieces().count() as u64);
    }
}

#[test]
fn an_append_waits_for_the_sync_that_runs_and_for_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, storage, _) = gated();
    let (log, _) = Log::open(dir.path(), &identity(), wide(LATER), &storage, None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    log.sync_blocking().unwrap();
    let before = disk.begun();
    disk.set_shut(true);
    let mut pieces = pieces();
    for piece in pieces.by_ref().take(32) {
        log.append(&[piece]).unwrap();
    }
    disk.wait_begun(before + 1);
    let waits = pieces.find(|piece| {
        let waits = log.has_to_sync(piece.bytes());
        if !waits {
            log.append(std::slice::from_ref(piece)).unwrap();
        }
        waits
    });
    let (writer, (tell, told)) = (log.clone(), mpsc::channel());
    std::thread::spawn(move || tell.send(writer.append(&[waits.unwrap()]).is_ok()));
    disk.let_one_pass();
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(true));
    disk.set_shut(false);
}

/// What a process leaves that is killed now.
fn is_read_within_the_bar(dir: &Path, log: &Log) {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    let options = LogOptions { recheck_bytes: 1 << 20, ..wide(LATER) };
    let opened = Log::open(copy.path(), &identity(), options, &Storage::default(), None);
    let (left, report) = opened.unwrap();
    assert_eq!(left.last(), log.last());
    assert!((32 << 20..=64 << 20).contains(&report.checked_bytes), "{report:?}");
}
