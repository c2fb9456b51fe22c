//! The end of a partition's log disappears while its node is down, more than a start writes at once: the node
//! must notice what it had acknowledged, and get it back from the others.

use std::fs::{self, OpenOptions};

use anyhow::Result;

use super::{Fault, Place, segments};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Clone, Debug)]
pub struct TruncatedSegment {
    place: Place,
}

impl TruncatedSegment {
    /// There.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self { place }
    }
}

impl Fault for TruncatedSegment {
    fn name(&self) -> &'static str {
        "truncated-segment"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.place.node;
        cluster.node_mut(victim).kill()?;
        let segment = segments::newest(&self.place.folder(cluster))?;
        let half = segments::written(&fs::read(&segment)?) / 2;
        OpenOptions::new().write(true).open(&segment)?.set_len(half as u64)?;
        Ok(vec![victim])
    }
}
