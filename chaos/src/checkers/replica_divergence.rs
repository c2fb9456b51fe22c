//! After the heal all replicas of a partition hold the same committed bytes.

use std::collections::BTreeMap;

use super::Finding;
use crate::history::{History, Replica};

pub(super) fn check(history: &History) -> Option<Finding> {
    let mut partitions = BTreeMap::<&str, &Replica>::new();
    let mut cases = Vec::new();
    for replica in &history.replicas {
        let first = *partitions.entry(&replica.name).or_insert(replica);
        if held(first) != held(replica) {
            cases.push(format!(
                "{}: node {} has {} and node {} has {}",
                replica.name,
                first.node,
                brief(first),
                replica.node,
                brief(replica)
            ));
        }
    }
    Finding::broken("replica_divergence", cases)
}

fn held(replica: &Replica) -> (i64, i64, u64, &str) {
    (replica.start, replica.end, replica.records, &replica.hash)
}

fn brief(replica: &Replica) -> String {
    let Replica { start, end, records, hash, .. } = replica;
    format!("{records} records in {start}..{end} with hash {hash}")
}

#[cfg(test)]
mod tests {
    use super::super::sample::history;
    use super::*;
    use crate::history::Event;

    fn replica(node: i32, name: &str, hash: &str) -> Event {
        let (name, hash) = (name.to_owned(), hash.to_owned());
        Event::Replica(Replica { node, name, start: 0, end: 5, records: 5, hash })
    }

    #[test]
    fn replicas_with_other_bytes_are_found() {
        let same = [replica(1, "t-0", "a"), replica(2, "t-0", "a"), replica(1, "t-1", "b")];
        assert_eq!(check(&history(same.clone())), None);
        let finding = check(&history(same.into_iter().chain([replica(3, "t-0", "c")]))).unwrap();
        assert_eq!(
            finding.examples,
            [
                "t-0: node 1 has 5 records in 0..5 with hash a and node 3 has 5 records in 0..5 with hash c"
            ]
        );
    }
}
