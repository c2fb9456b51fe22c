//! `jackdaw log verify` over a stopped node's data, and whether replicas agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::NodeId;

/// What `jackdaw log verify --json` says of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VerifiedPartition {
    /// Topic id, 32 hexadecimal digits.
    pub topic_id: String,
    /// Topic name, where the folder tells it.
    pub topic: Option<String>,
    /// Partition index.
    pub partition: i32,
    /// First offset.
    pub start_offset: i64,
    /// Offset after the last committed record, up to which the hash goes.
    pub committed_offset: i64,
    /// Records up to `committed_offset`.
    pub records: u64,
    /// Hash of the committed records.
    pub hash: String,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
}

/// Runs `jackdaw log verify` over a data folder that no process uses.
///
/// # Errors
/// The command fails, or finds a fault in the folder.
pub fn verify_data_dir(binary: &Path, data_dir: &Path) -> Result<Vec<VerifiedPartition>> {
    let output = Command::new(binary)
        .args(["log", "verify"])
        .arg(data_dir)
        .arg("--json")
        .output()
        .with_context(|| format!("running {}", binary.display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "log verify {}: {}: {}{}",
        data_dir.display(),
        output.status,
        complaint.trim_end(),
        String::from_utf8_lossy(&output.stdout)
    );
    let found: Vec<VerifiedPartition> = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("reading what log verify says of {}", data_dir.display()))?;
    Ok(found)
}

/// Sentences about replicas of one partition that do not hold the same committed bytes.
pub(super) fn disagreements(nodes: &BTreeMap<NodeId, Vec<VerifiedPartition>>) -> Vec<String> {
    let mut replicas = BTreeMap::<_, Vec<(NodeId, &VerifiedPartition)>>::new();
    for (node, found) in nodes {
        for one in found {
            replicas.entry((&one.topic_id, one.partition)).or_default().push((*node, one));
        }
    }
    let mut sentences = Vec::new();
    for ((topic_id, partition), held) in replicas {
        let (first, rest) = held.split_first().expect("an entry is made with its first replica");
        for other in rest {
            let same = |one: &VerifiedPartition| {
                (one.start_offset, one.committed_offset, one.records, one.hash.clone())
            };
            if same(first.1) != same(other.1) {
                let name = first.1.topic.as_ref().unwrap_or(topic_id);
                sentences.push(format!(
                    "{name}-{partition}: node {} has {} and node {} has {}",
                    first.0,
                    brief(first.1),
                    other.0,
                    brief(other.1)
                ));
            }
        }
    }
    sentences
}

fn brief(one: &VerifiedPartition) -> String {
    format!(
        "{} records in {}..{} with hash {}",
        one.records, one.start_offset, one.committed_offset, one.hash
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(hash: &str, committed_offset: i64) -> Vec<VerifiedPartition> {
        vec![VerifiedPartition {
            topic_id: "0a".into(),
            topic: Some("t".into()),
            partition: 0,
            start_offset: 0,
            committed_offset,
            records: committed_offset as u64,
            hash: hash.into(),
            faults: vec![],
        }]
    }

    #[test]
    fn equal_replicas_agree() {
        let nodes = BTreeMap::from([(1, replica("x", 5)), (2, replica("x", 5)), (3, vec![])]);
        assert_eq!(disagreements(&nodes), Vec::<String>::new());
    }

    #[test]
    fn another_hash_or_length_is_named() {
        let nodes =
            BTreeMap::from([(1, replica("x", 5)), (2, replica("y", 5)), (3, replica("x", 4))]);
        assert_eq!(
            disagreements(&nodes),
            [
                "t-0: node 1 has 5 records in 0..5 with hash x and node 2 has 5 records in 0..5 \
                 with hash y",
                "t-0: node 1 has 5 records in 0..5 with hash x and node 3 has 4 records in 0..4 \
                 with hash x",
            ]
        );
    }
}
