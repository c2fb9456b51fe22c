//! `kill -9` of the node that leads the metadata group, and so coordinates consumer groups, and how long
//! no topic can be made after it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Fault, LEADERS_DEADLINE};
use crate::cluster::{Cluster, NodeId};
use crate::workload::create_topic;

/// See the file's head.
#[derive(Debug, Default)]
pub struct KillController {
    /// From each death to the first topic made after it.
    pub creations: Vec<Duration>,
}

impl Fault for KillController {
    fn name(&self) -> &'static str {
        "kill-controller"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let known = |view: &crate::cluster::ClusterView| view.metadata.leader.is_some();
        let view = cluster.wait_view("the metadata is led", LEADERS_DEADLINE, known)?;
        let victim = view.metadata.leader.context("a leader was waited for")?;
        cluster.node_mut(victim).kill()?;
        let died = Instant::now();
        // It grows, so that the name is new.
        let name = format!("after-{}", view.metadata.applied_index);
        create_topic(&cluster.bootstrap(), &name, 1, cluster.nodes().len().min(3) as i32)?;
        self.creations.push(died.elapsed());
        Ok(vec![victim])
    }
}
