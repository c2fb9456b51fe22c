//! HTTP: health, metrics, and administration as JSON.
//!
//! The broker plugs in through [`AdminBackend`]; nothing here knows partitions or Raft.
//!
//! **Invariant:** every answer under `/api` is JSON, errors included:
//! `{"error": CODE, "message": …, "hint": …}`.
//! **Invariant:** axum is named in this room only.

mod backend;
mod error;
mod health;
mod router;
mod view;

pub use backend::AdminBackend;
pub use error::{AdminError, AdminErrorKind};
pub(crate) use health::grouped;
pub use health::{
    Absence, HealthState, PartitionHealth, PartitionsAsked, PartitionsPage, ReplicaTrouble, Trouble,
};
pub use router::serve;
pub use view::{
    ClusterView, MetadataView, NewTopic, NodeView, PartitionView, QuarantineState, QuarantineView,
    ReplicaView, TopicView,
};
