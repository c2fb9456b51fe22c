//! Segments that are swapped for compacted ones, interrupted at every operation in every way.

use super::fault_disk::Fault;
use super::regressions::{faults, power_cuts};
use super::script::Step;

/// Several segments of few keys are compacted; more is appended, rolled, and compacted with them.
fn script() -> [Step; 8] {
    let more = || Step::Append(vec![600, 370, 601, 598, 200, 610, 33, 599, 426]);
    let (sync, compact) = (|| Step::Sync, || Step::Compact(255));
    [more(), sync(), compact(), more(), Step::Roll, sync(), compact(), Step::NewTerm]
}

#[test]
fn a_power_cut_leaves_the_old_or_the_compacted_segment() {
    power_cuts("power cuts in compactions", script());
}

#[test]
fn a_killed_process_finds_the_old_or_the_compacted_segment() {
    faults("kills in compactions", Fault::Kill, script());
}

#[test]
fn a_compaction_that_fails_leaves_a_usable_log() {
    faults("failures in compactions", Fault::InputOutput, script());
    faults("full disks in compactions", Fault::NoSpace, script());
}
