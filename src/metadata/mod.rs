//! Cluster metadata: the replicated state of the metadata Raft group, and the way to read and
//! change it.
//!
//! ```text
//! handlers, admin ──request──▶ Metadata ──forward──▶ Controller (on the leader): validate, place
//!                                                        │ Command
//!                                                        ▼
//!              Arc<MetadataImage> ◀──publish── State::apply ◀── Raft log of the metadata group
//! ```
//!
//! **Invariant:** the state changes only by applying the log's commands; readers take an image
//! and never wait.

mod change;
pub mod command;
pub mod configs;
mod controller;
mod election;
mod error;
mod forward;
mod handle;
mod hearsay;
mod image;
mod log_port;
mod machine;
pub mod placement;
mod planner;
mod presence;
pub mod record;
mod refusal;
mod registry;
mod snapshot;
pub mod state;
mod store;
pub mod topic_name;

pub use change::{
    AlterConfigs, Change, ChangeAnswer, ChangeRequest, ConfigOp, ConfigTarget, CreatePartitions,
    CreateTopic, Outcome, TopicSelector,
};
pub use command::{Command, CommandReply, Envelope, RequestId};
pub use election::{CALL_ELECT, ElectionError, Elections};
pub use error::MetadataError;
pub use forward::CALL_CHANGE;
pub use handle::{Metadata, MetadataOptions, partition_group};
pub use hearsay::{Hearsay, Leaders};
pub use image::{MetadataDelta, MetadataImage, TopicChange, TopicImage};
pub use log_port::MetadataLog;
pub use machine::MetadataMachine;
#[cfg(test)]
pub(crate) use planner::Planner;
pub use planner::{PARTITIONS_PER_REQUEST_MAX, TopicDefaults};
pub use presence::Presence;
pub use record::BrokerRegistration;
pub use refusal::Refusal;
pub use snapshot::{SNAPSHOT_GROWTH_BYTES, snapshot_due};
pub use state::State;
pub use store::{KvPairs, MemPairs, PairStore};

#[cfg(test)]
pub(crate) mod tests;
