//! What is done to a cluster, one fault per file.
//!
//! **Invariant:** after `heal` every node runs and becomes ready.

mod bandwidth;
mod bit_flip;
mod catalogue;
mod clock_jump;
mod combined;
mod cut_all;
mod cut_cable;
mod cut_off;
mod cut_pair;
mod deleted_indexes;
mod fill_disk;
mod fill_log;
mod kill_all;
mod kill_controller;
mod kill_follower;
mod kill_leader;
mod kill_nodes;
mod need;
mod packet_loss;
mod pause_leader;
mod place;
mod power_cut;
mod read_only;
mod reset_connections;
mod restart;
mod rolling_restart;
mod segments;
mod sync_delay;
mod sync_error;
mod truncated_segment;
mod victim;

pub use bandwidth::Bandwidth;
pub use bit_flip::BitFlip;
pub use catalogue::{CATALOGUE, Draw, Entry};
pub use clock_jump::ClockJump;
pub use combined::Combined;
pub use cut_all::CutAll;
pub use cut_cable::CutCable;
pub use cut_off::{CutOff, Direction};
pub use cut_pair::CutPair;
pub use deleted_indexes::DeletedIndexes;
pub use fill_disk::FillDisk;
pub use fill_log::FillLog;
pub use kill_all::KillAll;
pub use kill_controller::KillController;
pub use kill_follower::KillFollower;
pub use kill_leader::KillLeader;
pub use kill_nodes::KillNodes;
pub use need::Need;
pub use packet_loss::PacketLoss;
pub use pause_leader::PauseLeader;
pub use place::Place;
pub use power_cut::PowerCut;
pub use read_only::ReadOnly;
pub use reset_connections::ResetConnections;
pub use restart::Restart;
pub use rolling_restart::RollingRestart;
pub use sync_delay::SyncDelay;
pub use sync_error::SyncError;
pub use truncated_segment::TruncatedSegment;
pub use victim::Victim;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::{Cluster, Network, NodeId};

/// From a fault before to leaders for all partitions.
const LEADERS_DEADLINE: Duration = Duration::from_secs(30);
/// From SIGTERM to the end of a process.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// From a process to a ready node.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long writes may stand still where nodes fall silent with their connections open: the nodes notice after
/// half a second, but a client waits for its own time-out, of two seconds here and looked at once a second, and
/// may then ask one that does not know yet.
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// Something that breaks and heals, and what is promised meanwhile.
pub trait Fault {
    /// Its name in histories and reports.
    fn name(&self) -> &'static str;

    /// Whether a majority of the nodes still works while it lasts.
    fn majority_survives(&self) -> bool {
        true
    }

    /// Whether the nodes that were hit may lead partitions while it lasts.
    fn nodes_may_lead(&self) -> bool {
        false
    }

    /// How long writes to a partition may stand still from when a majority of the nodes can work together:
    /// while it lasts if a majority survives, and after the heal.
    fn write_gap_max(&self) -> Duration {
        Duration::from_secs(5)
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

/// Does something to each node's host; gives the nodes.
fn each_node(
    cluster: &Cluster,
    act: impl Fn(&Network, NodeId) -> Result<()>,
) -> Result<Vec<NodeId>> {
    let network = cluster.network()?;
    let ids: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id).collect();
    ids.iter().try_for_each(|id| act(network, *id))?;
    Ok(ids)
}

/// Whether a majority of `of` nodes is left without `hit` of them.
fn majority_without(hit: usize, of: usize) -> bool {
    (of - hit) * 2 > of
}
