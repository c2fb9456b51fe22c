//! A small Kafka client: enough for the command line, over the sans-I/O half in `protocol::client`.
//!
//! **Invariant:** every wait has a deadline, and every error says what was being done to whom.

mod assignor;
mod cluster;
mod connection;
mod consumer;
mod error;
mod group;
mod http;
mod leaders;
mod partitioner;
mod producer;
mod records;

pub(super) use cluster::{Client, Topic};
pub(super) use consumer::{Consumer, Fetched, Position, list_offsets};
pub(super) use error::{ClientFailure, check};
pub(super) use group::{GroupMember, assignment, committed};
pub(super) use http::get_json;
pub(super) use producer::{Producer, ProducerOptions};
pub(super) use records::delete_records;

#[cfg(test)]
mod tests;
