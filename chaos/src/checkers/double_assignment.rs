//! A partition is one member's in a generation of a group, and commits of members of the past are refused.
//!
//! A member keeps its generation until it is given partitions anew. So two acknowledged commits of one member
//! in one generation must not have an acknowledged commit of another between them.

use std::collections::BTreeMap;

use super::Finding;
use crate::history::{Commit, History};

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut partitions = BTreeMap::<(&str, i32), Vec<&Commit>>::new();
    for commit in &history.commits {
        partitions.entry((&commit.group, commit.partition)).or_default().push(commit);
    }
    Finding::broken("double_assignment", partitions.into_values().flat_map(between).collect())
}

/// Sentences about commits of others between two of one member's in a generation.
fn between(mut commits: Vec<&Commit>) -> Vec<String> {
    commits.sort_unstable_by_key(|commit| commit.begin_us);
    let mut first = BTreeMap::<(&str, u64), &Commit>::new();
    let mut members = BTreeMap::<&str, Vec<&Commit>>::new();
    let mut cases = Vec::new();
    for commit in commits {
        let begun = *first.entry((&commit.member, commit.assignment)).or_insert(commit);
        for (other, theirs) in members.iter().filter(|(other, _)| **other != commit.member) {
            // Theirs are one after the other, so the last that was over begins last.
            let over = theirs.partition_point(|their| their.end_us < commit.begin_us);
            if let Some(their) = theirs[..over].last().filter(|their| their.begin_us > begun.end_us)
            {
                cases.push(format!(
                    "group {} partition {}: {other} committed {} at {} µs, between commits of {} at {} \
                     and {} µs in one generation",
                    commit.group,
                    commit.partition,
                    their.offset,
                    their.end_us,
                    commit.member,
                    begun.end_us,
                    commit.end_us
                ));
            }
        }
        members.entry(&commit.member).or_default().push(commit);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::super::sample::{commit_of, history};
    use super::*;

    #[test]
    fn another_s_commit_within_a_generation_is_found() {
        let events = [
            commit_of("a", 1, 3, (100, 110)),
            commit_of("b", 1, 5, (200, 210)),
            commit_of("a", 1, 7, (300, 310)),
        ];
        let finding = check(&history(events)).unwrap();
        assert_eq!(
            finding.examples,
            [
                "group g partition 0: b committed 5 at 210 µs, between commits of a at 110 and 310 µs in \
              one generation"
            ]
        );
    }

    #[test]
    fn a_partition_may_come_back_in_a_later_generation() {
        let commits =
            |third| [commit_of("a", 1, 3, (100, 110)), commit_of("b", 1, 5, (200, 210)), third];
        assert_eq!(check(&history(commits(commit_of("a", 2, 7, (300, 310))))), None);
        let overlapping = commit_of("a", 1, 7, (205, 310));
        assert_eq!(check(&history(commits(overlapping))), None, "its order is open");
    }
}
