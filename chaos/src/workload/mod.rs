//! What clients do while a cluster is broken: through librdkafka, or, where a certain node is to be asked,
//! with requests of their own.
//!
//! **Invariant:** every send ends in exactly one line of the history, whatever happens to the
//! cluster: a delivery report comes for each, at the latest when its time-out passes.

mod churn;
mod client;
mod connection;
mod direct_producer;
mod group;
mod plain_consumer;
mod producer;
mod progress;
mod reader;
mod tail;
mod topic;
mod witness;

pub use churn::Churn;
pub use client::client_config;
pub use direct_producer::DirectProducer;
pub use group::{GroupConsumer, GroupOptions, begin_group, read_committed};
pub use producer::{Producer, ProducerKind, ProducerOptions, Routing};
pub use progress::Progress;
pub use reader::{Read, read_all};
pub use tail::Tail;
pub use topic::{create_topic, create_topic_with, delete_topic};
pub use witness::Witness;
