//! `kill -9` of every node at once: what is not on a disk is gone from all of them.

use anyhow::Result;

use super::Fault;
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Debug)]
pub struct KillAll;

impl Fault for KillAll {
    fn name(&self) -> &'static str {
        "kill-all"
    }

    fn majority_survives(&self) -> bool {
        false
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        cluster.kill_all()?;
        Ok(cluster.nodes().iter().map(|node| node.id).collect())
    }
}
