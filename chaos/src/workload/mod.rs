//! What clients do while a cluster is broken, through librdkafka.
//!
//! **Invariant:** every send ends in exactly one line of the history, whatever happens to the
//! cluster: a delivery report comes for each, at the latest when its time-out passes.

mod client;
mod group;
mod producer;
mod progress;
mod reader;
mod topic;

pub use client::client_config;
pub use group::{GroupConsumer, GroupOptions, read_committed};
pub use producer::{Producer, ProducerKind, ProducerOptions};
pub use progress::Progress;
pub use reader::{Read, read_all};
pub use topic::{create_topic, create_topic_with, delete_topic};
