//! [`Metadata`]: the one handle through which the rooms above read and change the metadata.
//!
//! **Invariant:** reads of the image never wait. A change is answered only after this node has
//! applied it, so that what follows on this node sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jackdaw_raft::{Group, GroupId, LogPort, NodeId, PeerStatus, RaftNode, StatusWatch, Suffrage};
use tokio::sync::watch;

use super::configs::{BrokerLayers, ConfigMap, InvalidValue, TopicConfig, check_statics};
use super::controller::Controller;
use super::error::MetadataError;
use super::image::{MetadataImage, TopicImage};
use super::machine::MetadataMachine;
use super::planner::TopicDefaults;
use super::snapshot::snapshot_due;
use super::state::State;
use super::store::PairStore;
use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

/// After a snapshot failed, before it is tried again.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(10);

/// What the metadata group of a node is opened with.
#[derive(Clone, Debug)]
pub struct MetadataOptions {
    /// This broker.
    pub broker: BrokerId,
    /// The nodes that vote in the metadata group; the same on every node.
    pub voters: BTreeSet<BrokerId>,
    /// What topics get that are created without partition count or replication factor.
    pub defaults: TopicDefaults,
    /// Configs of the node's file under Kafka's names (`num.partitions`, `log.retention.ms`, …).
    pub statics: ConfigMap,
}

/// The cluster's metadata. Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) broker: BrokerId,
    pub(super) node: RaftNode,
    pub(super) machine: Arc<MetadataMachine>,
    pub(super) controller: Arc<Controller>,
    images: watch::Receiver<Arc<MetadataImage>>,
    pub(super) status: StatusWatch,
    suffrage: watch::Receiver<Suffrage>,
    pub(super) peers: watch::Receiver<Arc<BTreeMap<NodeId, PeerStatus>>>,
}

pub(super) fn node_of(broker: BrokerId) -> NodeId {
    NodeId(u64::try_from(broker.0).expect("a registered broker's id is not negative"))
}

pub(super) fn broker_of(node: NodeId) -> BrokerId {
    BrokerId(i32::try_from(node.0).expect("node ids are broker ids"))
}

/// The Raft group of a partition.
///
/// # Panics
/// If the index is negative, which no index of an image is.
#[must_use]
pub fn partition_group(topic: TopicId, partition: PartitionIndex) -> GroupId {
    let partition = u32::try_from(partition.0).expect("a partition's index is not negative");
    GroupId { topic: topic.0, partition }
}

impl Metadata {
    /// Opens the metadata group of `node` over its log and its store; the first of its voters stands
    /// first for election.
    ///
    /// The caller serves the node's calls with this handle, a [`CallHandler`](jackdaw_raft::CallHandler).
    ///
    /// # Errors
    /// [`MetadataError::Config`] for a static config that is not valid, [`MetadataError::Io`] if the
    /// stored state cannot be read, [`MetadataError::Raft`].
    pub async fn open(
        node: RaftNode,
        log: Arc<dyn LogPort>,
        store: Arc<dyn PairStore>,
        options: MetadataOptions,
    ) -> Result<Self, MetadataError> {
        let MetadataOptions { broker, voters, defaults, statics } = options;
        check_statics(&statics).map_err(MetadataError::Config)?;
        let machine = Arc::new(MetadataMachine::open(store)?);
        let first = voters.first().copied().map(node_of);
        let group = node.open_group(GroupId::METADATA, log, machine.clone(), first).await?;
        group.initialize(voters.iter().copied().map(node_of).collect()).await?;
        tokio::spawn(take_snapshots(group.clone(), machine.clone()));
        let inner = Inner {
            broker,
            images: machine.images(),
            status: group.status(),
            suffrage: group.suffrage(),
            peers: node.peers(),
            controller: Arc::new(Controller::new(group, machine.clone(), defaults, statics)),
            machine,
            node,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This broker's id.
    #[must_use]
    pub fn broker(&self) -> BrokerId {
        self.inner.broker
    }

    /// The newest image that this node has applied.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.inner.images.borrow().clone()
    }

    /// The newest image, now and as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.inner.machine.images()
    }

    /// The metadata group as this node sees it: term, leader, and whether this node leads and has
    /// caught up (`leader_ready`), which is when its coordinator may begin.
    #[must_use]
    pub fn leadership(&self) -> StatusWatch {
        self.inner.status.clone()
    }

    /// The metadata group itself, for status pages and shutdown.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.inner.controller.group
    }

    /// Who leads the metadata group, if somebody does and is alive. This node only while no other can have been elected.
    #[must_use]
    pub fn controller(&self) -> Option<BrokerId> {
        let leader = self.inner.status.borrow().leader?;
        let leads = match leader == self.inner.node.id() {
            true => self.group().is_confirmed(),
            false => self.is_alive(broker_of(leader)),
        };
        leads.then(|| broker_of(leader))
    }

    /// Whether this node leads the metadata group.
    #[must_use]
    pub fn is_controller(&self) -> bool {
        self.inner.status.borrow().is_leader
    }

    /// Whether this node may have forgotten a vote in the metadata group, and takes no part in it until it
    /// has heard from all others.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        *self.inner.suffrage.borrow() == Suffrage::Unproven
    }

    /// Whether this node's log of the metadata was lost and is being got back, without a vote until then.
    #[must_use]
    pub fn is_being_refilled(&self) -> bool {
        matches!(*self.inner.suffrage.borrow(), Suffrage::Refilling { .. })
    }

    /// Who leads a partition and in which epoch, if anybody is known to.
    #[must_use]
    pub fn leader_of(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        let partition = u32::try_from(partition.0).ok()?;
        let led = self.inner.node.leader_of(GroupId { topic: topic.0, partition })?;
        // What peers announce is theirs: an id or a term that Kafka cannot express is no leader.
        let leader = BrokerId(i32::try_from(led.leader.0).ok()?);
        Some((leader, LeaderEpoch(i32::try_from(led.term).ok()?)))
    }

    /// Whether a broker's replica of a partition is being refilled, as far as is known here.
    #[must_use]
    pub fn is_refilling(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        broker: BrokerId,
    ) -> bool {
        u32::try_from(partition.0).is_ok_and(|partition| {
            self.inner.node.is_refilling(GroupId { topic: topic.0, partition }, node_of(broker))
        })
    }

    /// Bumps whenever an answer of [`Self::leader_of`] may have changed.
    #[must_use]
    pub fn leadership_version(&self) -> watch::Receiver<u64> {
        self.inner.node.leadership_version()
    }

    /// Whether leaderships changed, or nodes died, a moment ago: elections may be under way.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.inner.node.is_unsettled()
    }

    /// Reads groups and committed offsets under a short lock. `read` must not wait for anything.
    pub fn with_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.inner.machine.with_state(read)
    }

    /// The layers of configs of a broker under the topics' own, in `image`.
    #[must_use]
    pub fn broker_layers<'a>(
        &'a self,
        image: &'a MetadataImage,
        broker: BrokerId,
    ) -> BrokerLayers<'a> {
        BrokerLayers {
            broker: image.broker_config(broker),
            cluster: &image.cluster_configs,
            statics: &self.inner.controller.statics,
        }
    }

    /// A topic's configs in force on this broker.
    ///
    /// # Errors
    /// [`InvalidValue`] if one that is set is not valid to this build.
    pub fn topic_config(&self, topic: &TopicImage) -> Result<TopicConfig, InvalidValue> {
        let image = self.image();
        TopicConfig::resolve(&self.broker_layers(&image, self.inner.broker), &topic.configs)
    }

    /// What topics get that are created without partition count or replication factor.
    #[must_use]
    pub fn defaults(&self) -> TopicDefaults {
        self.inner.controller.defaults
    }
}

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Metadata(broker {})", self.inner.broker)
    }
}

/// Takes a snapshot whenever the log has grown enough, until the group ends.
async fn take_snapshots(group: Group, machine: Arc<MetadataMachine>) {
    let mut status = group.status();
    loop {
        let ended = {
            let status = status.borrow_and_update();
            status.fault.is_some()
        };
        if ended {
            return;
        }
        if snapshot_due(machine.grown_bytes()) {
            match group.snapshot().await {
                Ok(at) => tracing::info!(?at, "took a snapshot of the metadata"),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a snapshot of the metadata");
                    tokio::time::sleep(SNAPSHOT_PAUSE).await;
                }
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}
