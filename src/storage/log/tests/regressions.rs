//! Scripts that once lost something, in every way in which they may be interrupted.

use super::cases::{Cases, check_left, stride};
use super::cuts::Recorded;
use super::failures::each_operation;
use super::fault_disk::Fault;
use super::power_cut::Keep;
use super::random::Random;
use super::run::scratch;
use super::script::{Planned, Step};
use super::*;

/// Several segments.
fn fill() -> Step {
    Step::Append(vec![600, 600, 600, 600, 601, 600, 600, 600, 600])
}

fn some() -> Step {
    Step::Append(vec![200, 33])
}

pub(super) fn power_cuts(what: &'static str, steps: impl IntoIterator<Item = Step>) {
    let mut cases = Cases::new(what);
    Recorded::new(&Planned::all(steps)).each(|at, image, allowed| {
        for draw in 0..16 {
            let mut random = Random((at as u64) << 8 | draw);
            let keep = if draw == 0 { Keep::None } else { Keep::Some };
            cases.run(&format!("change {at}, draw {draw}"), || {
                let dir = scratch();
                let to = dir.path().join("log");
                image.leave(keep, &mut random, &to);
                check_left(&to, allowed, draw % 2 == 0)
            });
        }
    });
    cases.report(1);
}

pub(super) fn faults(what: &'static str, fault: Fault, steps: impl IntoIterator<Item = Step>) {
    let mut cases = Cases::new(what);
    let script = Planned::all(steps);
    for draw in 0..16 / stride(4) as u64 {
        let random = |at| Random((at as u64) << 8 | draw);
        each_operation(&mut cases, &format!("draw {draw}"), &script, (fault, 1), random);
    }
    cases.report(1);
}

/// The names of several deleted segments reached the disk in another order: a hole, refused as lost.
#[test]
fn segments_are_truncated_one_after_the_other() {
    power_cuts("truncation of segments", [fill(), Step::Sync, Step::Truncate(30), some()]);
}

/// A truncation said that a new log is on disk whose folder's name was not.
#[test]
fn a_new_log_that_is_truncated_is_on_disk() {
    power_cuts("truncation of a new log", [fill(), Step::Truncate(251), some()]);
}

/// The next process did not know that the new segment's name was not on disk, and acknowledged entries
/// in it.
#[test]
fn a_segment_begun_by_a_killed_process_is_on_disk_before_it_counts() {
    faults("kills in a roll", Fault::Kill, [some(), Step::Sync, Step::Roll, some(), Step::Sync]);
}

/// After a failed sync the system takes pages for written: the next process synced nothing.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_again() {
    faults("failed syncs", Fault::InputOutput, [some(), Step::Sync, some(), Step::Sync, some()]);
}

/// The same for the mark, on whose word segments were deleted that it did not cover on the disk.
#[test]
fn a_mark_that_was_read_is_on_disk_before_segments_go() {
    let script = || [fill(), Step::Sync, Step::Purge(200), some(), Step::Sync];
    faults("kills in a purge", Fault::Kill, script());
    faults("failed syncs in a purge", Fault::InputOutput, script());
}

/// A reset that failed half-way was gone on from, and the next start deleted what was acknowledged.
#[test]
fn a_reset_that_fails_half_way_ends_the_process() {
    let script = || [fill(), Step::Sync, Step::Reset, some(), Step::Sync, Step::Restarted];
    faults("failures in a reset", Fault::InputOutput, script());
    faults("full disks in a reset", Fault::NoSpace, script());
}

/// A recovery point that was lowered in memory only was taken for lowered: the next process did not, and
/// the old one refused the log as lost.
#[test]
fn a_recovery_point_is_lowered_on_disk_before_a_truncation() {
    let script = || [fill(), Step::Sync, Step::Truncate(100), Step::Restarted, Step::Truncate(50)];
    faults("failed syncs in a truncation", Fault::InputOutput, script());
    power_cuts("power cuts in a truncation", script());
}

/// The clean-shutdown marker's sync failed without anybody being told.
#[test]
fn a_sync_that_fails_on_closing_is_fatal() {
    faults("failed syncs on closing", Fault::InputOutput, [some(), Step::Restart, some()]);
}

/// Records of sealed segments were served as they were found.
#[test]
fn a_damaged_record_of_a_sealed_segment_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let entries: Vec<_> = (1..10).map(|index| batch(1, index, 1, 600)).collect();
    append_each(&log, &[&[blank(1, 0)], &entries[..]].concat());
    log.close().unwrap();
    let path = super::super::open::segment_paths(dir.path()).unwrap().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (log, _) = open(dir.path());
    let end = log.end_offset();
    let slices = |from| log.slices(Offset(from), end, 1 << 20, true);
    assert!(matches!(slices(0), Err(LogError::Corrupt { .. })));
    let header = log.batch_headers(Offset(0), end).unwrap().next().unwrap();
    assert!(matches!(header, Err(LogError::Corrupt { .. })));
    let next = log.segments().unwrap()[1].base_offset;
    assert!(!slices(next.0).unwrap().is_empty());
}

/// Of a file shorter than the first read, a damaged length that was larger than the file ended the
/// process.
#[test]
fn a_damaged_length_in_the_head_of_a_short_segment_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.close().unwrap();
    let path = newest_segment(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() < 300);
    bytes[10] = 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(open_err(dir.path(), None), LogError::Corrupt { .. }));
}
