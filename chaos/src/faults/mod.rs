//! What is done to a cluster, one fault per file.
//!
//! **Invariant:** after `heal` every node runs and becomes ready.

mod cut_all;
mod cut_cable;
mod cut_off;
mod cut_pair;
mod fill_disk;
mod fill_log;
mod kill_all;
mod kill_controller;
mod kill_leader;
mod pause_leader;
mod power_cut;
mod restart;

pub use cut_all::CutAll;
pub use cut_cable::CutCable;
pub use cut_off::{CutOff, Direction};
pub use cut_pair::CutPair;
pub use fill_disk::FillDisk;
pub use fill_log::FillLog;
pub use kill_all::KillAll;
pub use kill_controller::KillController;
pub use kill_leader::KillLeader;
pub use pause_leader::PauseLeader;
pub use power_cut::PowerCut;
pub use restart::Restart;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::{Cluster, NodeId};

/// From a fault before to leaders for all partitions.
const LEADERS_DEADLINE: Duration = Duration::from_secs(30);

/// Something that breaks and heals.
pub trait Fault {
    /// Its name in histories and reports.
    fn name(&self) -> &'static str;

    /// Whether a majority of the nodes still works while it lasts.
    fn majority_survives(&self) -> bool {
        true
    }

    /// Breaks; gives the nodes that were hit.
    ///
    /// # Errors
    /// It could not be done.
    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>>;

    /// Heals, without waiting until all nodes are ready. Unless a fault says otherwise, its nodes have
    /// ended and are started.
    ///
    /// # Errors
    /// It could not be done.
    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        cluster.start_all()
    }
}

/// Ends a fault that cut wires.
fn heal_wires(cluster: &Cluster) -> Result<()> {
    cluster.network()?.cut(&BTreeSet::new())
}
