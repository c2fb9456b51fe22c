//! A group's committed offset, once acknowledged, never reads lower.
//!
//! It holds for groups that only move forward, which is what the workloads do.

use std::collections::HashMap;

use super::Finding;
use crate::history::History;

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut commits = HashMap::<(&str, i32), Vec<(u64, i64)>>::new();
    for commit in &history.commits {
        let known = commits.entry((&commit.group, commit.partition)).or_default();
        known.push((commit.end_us, commit.offset));
    }
    let back = history.committed.iter().filter_map(|read| {
        let known = commits.get(&(read.group.as_str(), read.partition))?;
        let before = known.iter().filter(|(end_us, _)| *end_us <= read.begin_us);
        let highest = before.map(|(_, offset)| *offset).max()?;
        (read.offset < highest).then(|| {
            format!(
                "group {} had committed {highest} in partition {} and reads {} at {} µs",
                read.group, read.partition, read.offset, read.begin_us
            )
        })
    });
    Finding::broken("committed_offset", back.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{commit, committed, history};
    use super::*;

    #[test]
    fn an_acknowledged_commit_that_reads_lower_or_not_at_all() {
        let finding = check(&history([commit(5, 100), committed(4, 200)])).unwrap();
        assert_eq!(
            finding.examples,
            ["group g had committed 5 in partition 0 and reads 4 at 200 µs"]
        );
        assert_eq!(check(&history([commit(5, 100), committed(-1, 200)])).unwrap().count, 1);
    }

    #[test]
    fn a_commit_acknowledged_after_the_read_began_may_be_absent() {
        assert_eq!(check(&history([commit(5, 100), committed(4, 99)])), None);
    }
}
