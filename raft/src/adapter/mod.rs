//! The only room that knows openraft: its types are made of ours here, and its traits are served
//! from our ports and our transport.
//!
//! **Invariant:** no type of openraft leaves this crate, and no other room of this crate names one
//! except through the aliases below.

mod acks;
mod append_stream;
mod completion;
mod config;
mod grants;
mod log;
mod machine;
mod network;
mod payload;
mod runtime;
mod serve;
mod types;
mod watch;

pub(crate) use completion::{Completion, GroupSignals};
pub(crate) use config::{VOTE, openraft_config};
pub(crate) use log::LogStore;
pub(crate) use machine::{Machine, SnapshotBuilt};
pub(crate) use network::NetworkFactory;
pub(crate) use serve::{disable_lease, handle_transfer, install_snapshot, probe, vote_of};
pub(crate) use types::*;
