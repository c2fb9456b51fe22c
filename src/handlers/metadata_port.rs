//! What the handlers of metadata APIs need of the broker's rooms.
//!
//! **Invariant:** reads answer from memory; every change returns after this node's image shows it,
//! so that a client that asks the same broker next sees what it did.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::metadata::{
    AlterConfigs, CreatePartitions, CreateTopic, Elections, Hearsay, Leaders, Metadata,
    MetadataError, MetadataImage, Presence, Refusal, TopicImage, TopicSelector,
};
use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

/// An answer per element of a request, in its order.
pub type Answers<T> = Result<Vec<Result<T, Refusal>>, MetadataError>;

/// The metadata of the cluster, to read and to change.
pub trait MetadataPort: Send + Sync + 'static {
    /// The newest image on this node.
    fn image(&self) -> Arc<MetadataImage>;

    /// Images as they come.
    fn watch(&self) -> watch::Receiver<Arc<MetadataImage>>;

    /// The broker that leads the metadata group, if known.
    fn controller(&self) -> Option<BrokerId>;

    /// Brokers that can be reached from here; this one is always among them.
    fn alive(&self) -> BTreeSet<BrokerId>;

    /// What clients are to be told of a broker.
    fn presence(&self, broker: BrokerId) -> Presence;

    /// Hears from every live broker, or tries to for a moment: one whose process has ended is not alive
    /// afterwards. What they tell of those that are silent here.
    fn hear(&self) -> BoxFuture<'_, Hearsay>;

    /// Who leads partitions by the word of live brokers, where they tell.
    fn ask_leaders(&self, partitions: Vec<(TopicId, PartitionIndex)>) -> BoxFuture<'_, Leaders>;

    /// A partition's leader as far as known, alive or not.
    fn leader_of(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Option<(BrokerId, LeaderEpoch)>;

    /// Whether a broker's replica is not in sync because its log is being refilled, as far as known.
    fn is_refilling(&self, topic: TopicId, partition: PartitionIndex, broker: BrokerId) -> bool;

    /// Counts up whenever an answer of [`Self::leader_of`] may have changed.
    fn leadership(&self) -> watch::Receiver<u64>;

    /// Whether leaderships changed, or nodes died, a moment ago: elections may be under way.
    fn is_unsettled(&self) -> bool;

    /// Creates topics; `validate_only` answers with what would be created.
    fn create_topics(
        &self,
        topics: Vec<CreateTopic>,
        validate_only: bool,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<Arc<TopicImage>>>;

    /// Deletes topics.
    fn delete_topics(
        &self,
        topics: Vec<TopicSelector>,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>>;

    /// Adds partitions.
    fn create_partitions(
        &self,
        topics: Vec<CreatePartitions>,
        validate_only: bool,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>>;

    /// Changes configs.
    fn alter_configs(
        &self,
        resources: Vec<AlterConfigs>,
        validate_only: bool,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>>;

    /// Has the preferred replica of each partition lead it, where it can within `timeout`.
    fn elect_preferred(
        &self,
        partitions: BTreeSet<(TopicId, PartitionIndex)>,
        timeout: Duration,
    ) -> BoxFuture<'_, Elections>;

    /// Takes the next block of producer ids, never given out before.
    fn allocate_producer_ids(
        &self,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Range<i64>, MetadataError>>;
}

impl MetadataPort for Metadata {
    fn image(&self) -> Arc<MetadataImage> {
        self.image()
    }

    fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.watch()
    }

    fn controller(&self) -> Option<BrokerId> {
        self.controller()
    }

    fn alive(&self) -> BTreeSet<BrokerId> {
        self.alive()
    }

    fn presence(&self, broker: BrokerId) -> Presence {
        self.presence(broker)
    }

    fn hear(&self) -> BoxFuture<'_, Hearsay> {
        Box::pin(self.hear())
    }

    fn ask_leaders(&self, partitions: Vec<(TopicId, PartitionIndex)>) -> BoxFuture<'_, Leaders> {
        Box::pin(self.ask_leaders(partitions))
    }

    fn leader_of(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        self.leader_of(topic, partition)
    }

    fn is_refilling(&self, topic: TopicId, partition: PartitionIndex, broker: BrokerId) -> bool {
        self.is_refilling(topic, partition, broker)
    }

    fn leadership(&self) -> watch::Receiver<u64> {
        self.leadership_version()
    }

    fn is_unsettled(&self) -> bool {
        self.is_unsettled()
    }

    fn create_topics(
        &self,
        topics: Vec<CreateTopic>,
        validate_only: bool,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<Arc<TopicImage>>> {
        Box::pin(self.create_topics(topics, validate_only, timeout))
    }

    fn delete_topics(
        &self,
        topics: Vec<TopicSelector>,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>> {
        Box::pin(self.delete_topics(topics, timeout))
    }

    fn create_partitions(
        &self,
        topics: Vec<CreatePartitions>,
        validate_only: bool,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>> {
        Box::pin(self.create_partitions(topics, validate_only, timeout))
    }

    fn alter_configs(
        &self,
        resources: Vec<AlterConfigs>,
        validate_only: bool,
        timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>> {
        Box::pin(self.alter_configs(resources, validate_only, timeout))
    }

    fn elect_preferred(
        &self,
        partitions: BTreeSet<(TopicId, PartitionIndex)>,
        timeout: Duration,
    ) -> BoxFuture<'_, Elections> {
        Box::pin(self.elect_preferred(partitions, timeout))
    }

    fn allocate_producer_ids(
        &self,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Range<i64>, MetadataError>> {
        Box::pin(self.allocate_producer_ids(timeout))
    }
}

#[cfg(test)]
#[path = "metadata_port_test.rs"]
mod tests;
