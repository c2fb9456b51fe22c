//! Jackdaw: a Kafka-protocol broker whose partitions are Raft groups.
//!
//! The rooms, lowest floor first; a room imports only from floors below its own
//! (`tests/tidy.rs` holds the tree to this, ARCHITECTURE.md explains it):
//!
//! ```text
//! cli · main
//! broker
//! server
//! handlers · admin
//! group
//! partition · metadata
//! protocol · storage · crate jackdaw-raft     (blind to one another)
//! model
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod broker;
pub mod cli;
pub mod config;
pub mod group;
pub mod handlers;
pub mod metadata;
pub mod metrics;
pub mod model;
pub mod partition;
pub mod protocol;
pub mod server;
pub mod storage;
