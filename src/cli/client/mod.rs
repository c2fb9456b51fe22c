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
mod pipe;
mod produce_frame;
mod producer;
mod producer_id;
mod records;

pub(super) use cluster::{Client, Topic};
pub(super) use consumer::{Consumer, FETCH_BY_NAME, Fetched, Position, list_offsets};
pub(super) use error::{ClientFailure, check};
pub(super) use group::{GroupMember, assignment, committed};
pub(super) use http::get_json;
pub(super) use pipe::Pipe;
pub(super) use produce_frame::{BATCH_OF_REQUEST_MAX, PRODUCE_BY_NAME, ProduceFrame};
pub(super) use producer::{Producer, ProducerOptions};
pub(super) use producer_id::producer_id;
pub(super) use records::delete_records;

#[cfg(test)]
mod tests;
