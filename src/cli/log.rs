//! `jackdaw log verify`: what a data folder holds, checked to the last byte.

use std::process::ExitCode;

use serde::Serialize;

use super::args::LogCommand;
use super::output::{Table, print, print_json};
use crate::broker::{CheckedPartition, verify};
use crate::storage::Problem;

/// What was found in one partition's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct VerifiedPartition {
    /// Topic id, 32 hexadecimal digits.
    topic_id: String,
    /// Topic name, where the folder tells it.
    topic: Option<String>,
    /// Partition index.
    partition: i32,
    /// First offset.
    start_offset: i64,
    /// Offset after the last record of the log.
    end_offset: i64,
    /// Offset after the last committed record, up to which the hash goes.
    committed_offset: i64,
    /// Records up to `committed_offset`.
    records: u64,
    /// Hash of the committed records, equal on replicas that hold the same bytes.
    hash: String,
    /// What is wrong, a sentence each; empty when all is well.
    faults: Vec<String>,
}

/// Exit code 0 when every partition is well, 1 otherwise.
pub(super) fn run(args: LogCommand, json: bool) -> anyhow::Result<ExitCode> {
    let LogCommand::Verify { data_dir } = args;
    let checked = verify(&data_dir)?;
    for path in &checked.loose {
        eprintln!("warning: {} is no folder of a partition", path.display());
    }
    let found = checked.partitions.into_iter().map(VerifiedPartition::from);
    let found: Vec<_> = found.collect();
    let faults: usize = found.iter().map(|partition| partition.faults.len()).sum();
    if json {
        print_json(&found)?;
    } else {
        print(&render(&found))?;
    }
    if faults == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: {faults} fault(s) in {}", data_dir.display());
    eprintln!(
        "hint: keep the folder, start the node with an empty one, and let it copy its replicas"
    );
    Ok(ExitCode::FAILURE)
}

impl From<CheckedPartition> for VerifiedPartition {
    fn from(checked: CheckedPartition) -> Self {
        let CheckedPartition { name, report } = checked;
        let identity = report.identity.as_ref();
        let partition = name.as_ref().map(|name| name.partition.0);
        let fault = |problem: &Problem| {
            let Problem { path, position, what } = problem;
            format!("{} at byte {position}: {what}", path.display())
        };
        Self {
            topic_id: identity.map(|log| log.topic_id.to_string()).unwrap_or_default(),
            topic: name.as_ref().map(|name| name.topic.to_string()),
            partition: identity.map(|log| log.partition.0).or(partition).unwrap_or(-1),
            start_offset: report.start_offset.0,
            end_offset: report.end_offset.0,
            committed_offset: report.hashed.1.0,
            records: report.hashed_records,
            hash: format!("{:032x}", report.hash),
            faults: report.problems.iter().map(fault).collect(),
        }
    }
}

fn render(found: &[VerifiedPartition]) -> String {
    let mut table =
        Table::new(&["PARTITION", "FIRST", "COMMITTED", "END", "RECORDS", "HASH", "STATE"]);
    for one in found {
        let topic = one.topic.as_deref().unwrap_or(&one.topic_id);
        let state = if one.faults.is_empty() { "ok" } else { "BROKEN" };
        table.row([
            format!("{topic}-{}", one.partition),
            one.start_offset.to_string(),
            one.committed_offset.to_string(),
            one.end_offset.to_string(),
            one.records.to_string(),
            one.hash.clone(),
            state.to_owned(),
        ]);
    }
    let mut text = table.render();
    for one in found {
        for fault in &one.faults {
            let topic = one.topic.as_deref().unwrap_or(&one.topic_id);
            text.push_str(&format!("{topic}-{}: {fault}\n", one.partition));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_stands_below_the_table() {
        let one = VerifiedPartition {
            topic_id: "0a".into(),
            topic: Some("orders".into()),
            partition: 3,
            start_offset: 0,
            end_offset: 9,
            committed_offset: 8,
            records: 8,
            hash: "abc".into(),
            faults: vec!["CRC mismatch at byte 77".into()],
        };
        let text = render(&[one]);
        assert!(text.contains("orders-3   0      8          9    8        abc   BROKEN"), "{text}");
        assert!(text.ends_with("orders-3: CRC mismatch at byte 77\n"));
    }
}
