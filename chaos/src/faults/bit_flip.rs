//! A bit of a partition's log changes while its node is down: the node must notice it at its start, and get
//! the log back from the others.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use anyhow::{Result, ensure};

use super::{Fault, Place, segments};
use crate::cluster::{Cluster, NodeId};

/// From the end of what is written; deeper damage is found when it is read, not at a start.
const DEPTH_MAX: usize = 64 << 10;

/// See the file's head.
#[derive(Clone, Debug)]
pub struct BitFlip {
    place: Place,
    draw: u64,
}

impl BitFlip {
    /// There; `draw` says which bit.
    #[must_use]
    pub fn at(place: Place, draw: u64) -> Self {
        Self { place, draw }
    }
}

impl Fault for BitFlip {
    fn name(&self) -> &'static str {
        "bit-flip"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.place.node;
        cluster.node_mut(victim).kill()?;
        let segment = segments::newest(&self.place.folder(cluster))?;
        let bytes = fs::read(&segment)?;
        let written = segments::written(&bytes);
        ensure!(written > 0, "{} is empty", segment.display());
        let before_end = 1 + (self.draw / 8) as usize % written.min(DEPTH_MAX);
        let at = written - before_end;
        let changed = bytes[at] ^ (1 << (self.draw % 8));
        OpenOptions::new().write(true).open(&segment)?.write_all_at(&[changed], at as u64)?;
        Ok(vec![victim])
    }
}
