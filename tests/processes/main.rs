//! The `jackdaw` binary as real processes, used by librdkafka over real sockets.
//!
//! **Invariant:** every test has a cluster of its own on ports of its own, so that they run beside
//! one another.
#![allow(clippy::unwrap_used)]

mod bad_start;
mod bench;
mod compaction;
mod damage;
mod few_descriptors;
mod five_nodes;
mod hostile_bytes;
mod one_node;
mod passing;
mod raw;
mod record_rules;
mod relaxing;
mod retention;
mod support;
mod three_nodes;
mod topics;
mod votes;
