//! A node's disk: real files in a folder, and what would be left of them if the power failed now.
//!
//! **Invariant:** what a sync has confirmed survives every crash; what none has may be lost, by the seed:
//! all of it, or some writes and not others, or a part of one.

mod kv;
mod node_disk;
mod power;
mod volume;
mod workers;

pub(crate) use kv::SimStore;
pub(crate) use node_disk::SimDisk;
pub(crate) use volume::{Loss, Volume};
pub(crate) use workers::SimWorkers;
