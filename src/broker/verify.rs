//! `jackdaw log verify`: the data folder of a node that does not run, checked to the last byte.
//!
//! **Invariant:** nothing in the folder is changed but the lock: a node that runs is refused.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::hard_states::committed_in;
use crate::metadata::partition_group;
use crate::model::TopicPartition;
use crate::storage::{DataDir, Problem, Recovered, VerifyRange, VerifyReport, verify_log_dir};

/// One partition's folder.
#[derive(Clone, Debug)]
pub struct CheckedPartition {
    /// What the folder is called after, if it is called after a partition.
    pub name: Option<TopicPartition>,
    /// What its log holds; hashed are the records that the node knew to be committed.
    pub report: VerifyReport,
}

/// What was found where a node has its partitions.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// In order of the folders' names.
    pub partitions: Vec<CheckedPartition>,
    /// What is no folder, and was not looked into.
    pub loose: Vec<PathBuf>,
}

/// Checks every partition in the data folder of a stopped node.
///
/// # Errors
/// The folder is not a node's, a node runs on it, or it cannot be read. What is wrong with a log goes
/// into its report, that it cannot be read too.
pub fn verify(path: &Path) -> Result<Checked> {
    let identity = DataDir::identity_of(path)?.with_context(|| {
        format!("{} is no node's data folder: name the folder of `data_dir`", path.display())
    })?;
    let data_dir = DataDir::open(path, &identity.cluster_id, identity.node_id)?;
    let votes = Recovered::read(&data_dir.votes_dir())?;
    let found = data_dir.partitions()?;
    let mut partitions = Vec::new();
    for folder in found.folders {
        let mut range = VerifyRange::default();
        if let Ok(Some(log)) = &folder.identity {
            let group = partition_group(log.topic_id, log.partition);
            range.upto_index = committed_in(&votes, group)?.map(|committed| committed.index);
        }
        let report = verify_log_dir(&folder.path, range).unwrap_or_else(|error| {
            let (path, what) = (folder.path.clone(), error.to_string());
            let problems = vec![Problem { path, position: 0, what }];
            VerifyReport { problems, ..VerifyReport::default() }
        });
        partitions.push(CheckedPartition { name: folder.partition, report });
    }
    Ok(Checked { partitions, loose: found.loose })
}
