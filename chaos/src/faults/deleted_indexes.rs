//! What a node can do without is deleted from a partition's folder while it is down: the indexes, and the file
//! of what was applied.

use std::fs;

use anyhow::{Result, ensure};

use super::{Fault, Place, segments};
use crate::cluster::{Cluster, NodeId};

/// See the file's head.
#[derive(Clone, Debug)]
pub struct DeletedIndexes {
    place: Place,
}

impl DeletedIndexes {
    /// There.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self { place }
    }
}

impl Fault for DeletedIndexes {
    fn name(&self) -> &'static str {
        "deleted-index"
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        let victim = self.place.node;
        cluster.node_mut(victim).kill()?;
        let files = segments::files(&self.place.folder(cluster))?;
        let dispensable = files.iter().filter(|path| {
            segments::has_extension(path, "index")
                || path.file_name().is_some_and(|n| n == "applied")
        });
        let mut deleted = 0;
        for path in dispensable {
            fs::remove_file(path)?;
            deleted += 1;
        }
        ensure!(deleted > 0, "{} holds no index", self.place.folder(cluster).display());
        Ok(vec![victim])
    }
}
