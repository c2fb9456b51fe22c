//! What handlers work with: the running rooms, seen from above.
//!
//! **Invariant:** handlers reach partitions only through [`Context::resolve`], which tells an unknown
//! topic from a partition that lives elsewhere.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kafka_wire_core::{StrBytes, Uuid};

use super::fetch::SessionCache;
use super::find_coordinator::{CoordinatorEndpoint, CoordinatorLookup};
use super::metadata_context::MetadataContext;
use super::redirects::Redirects;
use crate::group::Coordinator;
use crate::metadata::TopicImage;
use crate::metrics::Metrics;
use crate::model::{BrokerId, Clock, LeaderEpoch, PartitionIndex, TopicId};
use crate::partition::{Partition, PartitionSet};
use crate::protocol::ErrorCode;

/// A topic as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    /// By name.
    Name(StrBytes),
    /// By id (KIP-516).
    Id(TopicId),
}

impl TopicRef {
    /// Takes the id where the request's version names topics by id, else the name.
    pub(crate) fn of(by_id: bool, name: StrBytes, id: Uuid) -> Self {
        if by_id { Self::Id(TopicId::from_bytes(id.to_bytes())) } else { Self::Name(name) }
    }

    /// The name for the answer, empty if asked by id.
    pub(crate) fn wire_name(&self) -> StrBytes {
        match self {
            Self::Name(name) => name.clone(),
            Self::Id(_) => StrBytes::default(),
        }
    }

    /// The id for the answer, zero if asked by name.
    pub(crate) fn wire_id(&self) -> Uuid {
        match self {
            Self::Name(_) => Uuid::ZERO,
            Self::Id(id) => Uuid::from_bytes(id.to_bytes()),
        }
    }
}

/// Where a partition's leader can be reached.
#[derive(Clone, Debug)]
pub(crate) struct LeaderHint {
    pub(crate) leader: BrokerId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
}

/// Everything that handlers reach; cheap to clone, for answers that come later.
#[derive(Clone)]
pub struct Context(Arc<Rooms>);

/// The rooms behind a [`Context`].
pub struct Rooms {
    /// The cluster's metadata, and this broker's place in it.
    pub metadata: MetadataContext,
    /// The partitions that run here.
    pub partitions: Arc<PartitionSet>,
    /// The group coordinator.
    pub groups: Coordinator,
    /// Fetch sessions of this broker.
    pub fetch_sessions: SessionCache,
    /// Clients that were told to look for a leader elsewhere.
    pub redirects: Arc<Redirects>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// What the process counts.
    pub metrics: Arc<Metrics>,
}

impl std::ops::Deref for Context {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.0
    }
}

impl Context {
    /// A context over running rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self(Arc::new(rooms))
    }

    /// The topic's image and the local replica of one of its partitions.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_ID or UNKNOWN_TOPIC_OR_PARTITION where the cluster has no such partition, and
    /// NOT_LEADER_OR_FOLLOWER where it lives on other nodes, or does not run here yet.
    pub(crate) fn resolve(
        &self,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Result<(Arc<TopicImage>, Arc<Partition>), ErrorCode> {
        let image = self.topic(topic)?;
        if image.replicas(partition).is_none() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let running = self.partitions.get(image.id, partition);
        running.map(|running| (image, running)).ok_or(ErrorCode::NotLeaderOrFollower)
    }

    fn topic(&self, topic: &TopicRef) -> Result<Arc<TopicImage>, ErrorCode> {
        let image = self.metadata.port.image();
        let (found, missing) = match topic {
            TopicRef::Name(name) => {
                (image.topic(name.as_str()), ErrorCode::UnknownTopicOrPartition)
            }
            TopicRef::Id(id) => (image.topic_by_id(*id), ErrorCode::UnknownTopicId),
        };
        found.map(Arc::clone).ok_or(missing)
    }

    /// The leader of a partition and where clients reach it, as far as this node knows.
    pub(crate) fn leader_hint(
        &self,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Option<LeaderHint> {
        let topic = self.topic(topic).ok()?;
        let (leader, epoch) = self.metadata.port.leader_of(topic.id, partition)?;
        let image = self.metadata.port.image();
        let broker = image.brokers.get(&leader)?;
        Some(LeaderHint {
            leader,
            epoch,
            host: broker.host.clone(),
            port: broker.port,
            rack: broker.rack.clone(),
        })
    }
}

/// The leader of the metadata group coordinates all consumer groups.
impl CoordinatorLookup for Context {
    fn group_coordinator(&self) -> BoxFuture<'_, Option<CoordinatorEndpoint>> {
        Box::pin(async {
            let (port, image) = (&self.metadata.port, self.metadata.port.image());
            let hears_all = image.brokers.len() <= port.alive().len();
            let told = if hears_all { None } else { port.hear().await.controller };
            let node = told.or_else(|| port.controller())?;
            let broker = image.brokers.get(&node)?;
            let port = i32::from(broker.port);
            Some(CoordinatorEndpoint { node, host: broker.host.as_str().into(), port })
        })
    }
}
