//! What the HTTP endpoint asks of the broker.

use futures_util::future::BoxFuture;

use super::{AdminError, ClusterView, NewTopic, PartitionsAsked, PartitionsPage, TopicView};
use crate::metrics::Readings;

/// The broker as the HTTP endpoint sees it.
pub trait AdminBackend: Send + Sync + 'static {
    /// Why this node is not ready to serve clients, a sentence each; empty when it is.
    ///
    /// Ready means: the metadata group has a leader, this node is registered and has applied the
    /// metadata up to its own registration, and every partition that it hosts has a known leader.
    fn not_ready(&self) -> Vec<String>;

    /// The cluster as this node knows it, with the positions of this node's own replicas.
    fn cluster(&self) -> ClusterView;

    /// A page of the cluster's partitions, with what is wrong with each as far as this node knows.
    fn partitions(&self, asked: PartitionsAsked) -> PartitionsPage;

    /// What the metrics show as of now.
    fn readings(&self) -> Readings;

    /// Makes a topic and waits until the metadata group has decided.
    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<TopicView, AdminError>>;

    /// Deletes a topic with its records and waits until the metadata group has decided.
    fn delete_topic(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>>;
}
