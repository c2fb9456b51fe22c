//! What the HTTP endpoint is told of the running node.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jackdaw_raft::RaftNode;
use tokio::sync::watch;

use super::lock;
use super::quarantine::{Troubles, VOTES_LOST, quarantined};
use crate::admin::{
    AdminBackend, AdminError, AdminErrorKind, ClusterView, MetadataView, NewTopic, NodeView,
    PartitionView, PartitionsAsked, PartitionsPage, QuarantineState, QuarantineView, ReplicaView,
    TopicView,
};
use crate::handlers::errors::KafkaCode;
use crate::metadata::{CreateTopic, Metadata, MetadataError, Refusal, TopicImage, TopicSelector};
use crate::metrics::{DiskSample, Readings, ReplicaSample, SocketSample};
use crate::model::PartitionIndex;
use crate::partition::{Partition, PartitionSet};
use crate::server::Server;
use crate::storage::DiskSpace;

/// Longest wait for the metadata group's decision.
const CHANGE_WAIT: Duration = Duration::from_secs(15);

/// [`AdminBackend`] over the running rooms.
pub(super) struct LiveAdmin {
    pub(super) cluster: String,
    pub(super) metadata: Metadata,
    pub(super) raft: RaftNode,
    pub(super) partitions: Arc<PartitionSet>,
    pub(super) server: Server,
    pub(super) space: Arc<DiskSpace>,
    pub(super) troubles: Arc<Mutex<Troubles>>,
    /// Whether this node's image showed its own registration.
    pub(super) registered: watch::Receiver<bool>,
    /// Whether every assigned partition was opened since.
    pub(super) reconciled: watch::Receiver<u64>,
}

impl AdminBackend for LiveAdmin {
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.metadata.is_unproven() {
            reasons.push(format!("the metadata group: {VOTES_LOST}"));
        } else if self.metadata.controller().is_none() {
            reasons.push("the metadata group has no leader: a majority of nodes must run".into());
        }
        if self.metadata.is_being_refilled() {
            reasons
                .push("this node's metadata log was lost, and is got back without a vote".into());
        }
        if !*self.registered.borrow() {
            reasons.push("this node is not registered in the cluster's metadata yet".into());
        } else if *self.reconciled.borrow() == 0 {
            reasons.push("this node's partitions are being opened".into());
        }
        for partition in self.partitions.all() {
            let name = partition.name();
            let leader = self.metadata.leader_of(partition.topic_id(), name.partition);
            if leader.is_none_or(|(leader, _)| !self.metadata.is_alive(leader)) {
                reasons.push(format!("partition {name} has no leader"));
            }
        }
        let image = self.metadata.image();
        let is_only = |replica: &QuarantineView| {
            let topic = image.topic(&replica.topic);
            let replicas = topic.and_then(|t| t.replicas(PartitionIndex(replica.partition)));
            replicas.is_some_and(|replicas| replicas.len() == 1)
        };
        for replica in quarantined(&self.partitions, &lock(&self.troubles)) {
            // One that is damaged serves what it can until another one leads, and its node is fit for the rest.
            // Where there is no other, somebody has to look.
            if replica.state != QuarantineState::Damaged || is_only(&replica) {
                reasons.push(replica.to_string());
            }
        }
        reasons
    }

    fn partitions(&self, asked: PartitionsAsked) -> PartitionsPage {
        self.page(&asked)
    }

    fn readings(&self) -> Readings {
        // Not within the literal: the lock would be held to its end.
        let quarantined = quarantined(&self.partitions, &lock(&self.troubles)).len();
        Readings {
            replicas: self.replicas().iter().map(ReplicaSample::from).collect(),
            quarantined,
            sockets: self.sockets(),
            disk: self.disk(),
            replication: self.replication(),
        }
    }

    fn cluster(&self) -> ClusterView {
        let image = self.metadata.image();
        let alive = self.metadata.alive();
        let status = self.metadata.leadership().borrow().clone();
        ClusterView {
            cluster: self.cluster.clone(),
            node: self.metadata.broker().0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata: MetadataView {
                leader: self.metadata.controller().map(|id| id.0),
                term: status.term,
                voters: status.voters.iter().map(|node| node.0 as i32).collect(),
                last_index: status.last.unwrap_or_default(),
                applied_index: status.applied.map(|id| id.index).unwrap_or_default(),
            },
            nodes: image
                .brokers
                .values()
                .map(|broker| NodeView {
                    id: broker.id.0,
                    kafka: format!("{}:{}", broker.host, broker.port),
                    admin: broker.admin.as_ref().map(|(host, port)| format!("{host}:{port}")),
                    alive: alive.contains(&broker.id),
                })
                .collect(),
            topics: image.topics_by_name.values().map(|topic| self.topic(topic)).collect(),
            replicas: self.replicas(),
            quarantined: quarantined(&self.partitions, &lock(&self.troubles)),
        }
    }

    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<TopicView, AdminError>> {
        Box::pin(async move {
            let wanted = CreateTopic {
                name: topic.name,
                partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                assignments: Vec::new(),
                configs: topic.configs.into_iter().map(|(key, value)| (key, Some(value))).collect(),
            };
            let created = self.metadata.create_topics(vec![wanted], false, CHANGE_WAIT).await;
            let created = only(created)?;
            Ok(self.topic(&created))
        })
    }

    fn delete_topic(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let topics = vec![TopicSelector::Name(name)];
            only(self.metadata.delete_topics(topics, CHANGE_WAIT).await)
        })
    }
}

impl LiveAdmin {
    fn sockets(&self) -> SocketSample {
        let stats = self.server.stats();
        SocketSample {
            connections: stats.connections.get(),
            accepted: stats.accepted.get(),
            refused: stats.refused.get(),
            accept_errors: stats.accept_errors.get(),
            request_bytes: self.server.in_flight_bytes() as u64,
        }
    }

    fn disk(&self) -> DiskSample {
        DiskSample {
            free_bytes: self.space.free_bytes(),
            reserve_bytes: self.space.reserve_bytes(),
            is_full: !self.space.has_room(),
        }
    }

    fn topic(&self, topic: &TopicImage) -> TopicView {
        let partition = |(index, replicas): (i32, &Vec<_>)| {
            let led = self.metadata.leader_of(topic.id, PartitionIndex(index));
            PartitionView {
                partition: index,
                leader: led.map(|(leader, _)| leader.0),
                term: led.map_or(0, |(_, epoch)| epoch.0 as u64),
                replicas: replicas.iter().map(|broker: &crate::model::BrokerId| broker.0).collect(),
            }
        };
        TopicView {
            name: topic.name.to_string(),
            id: topic.id.to_string(),
            partitions: (0..).zip(&topic.partitions).map(partition).collect(),
            configs: topic.configs.clone(),
        }
    }

    fn replicas(&self) -> Vec<ReplicaView> {
        let mut replicas: Vec<_> =
            self.partitions.all().iter().map(|partition| replica(partition)).collect();
        replicas.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        replicas
    }
}

fn replica(partition: &Partition) -> ReplicaView {
    let status = partition.group().status().borrow();
    ReplicaView {
        topic: partition.name().topic.to_string(),
        partition: partition.name().partition.0,
        is_leader: status.is_leader,
        term: status.term,
        log_start_offset: partition.log().start_offset().0,
        log_end_offset: partition.log().end_offset().0,
        high_watermark: partition.high_watermark().0,
        last_index: status.last.unwrap_or_default(),
        committed_index: status.committed.unwrap_or_default(),
        unsynced_records: partition.log().is_relaxed().then(|| partition.log().unsynced_records()),
    }
}

/// The answer to a request of one element.
fn only<T>(answers: Result<Vec<Result<T, Refusal>>, MetadataError>) -> Result<T, AdminError> {
    let answer = answers.map_err(|error| unavailable(&error))?.pop();
    let answer = answer.unwrap_or(Err(Refusal::Conflict));
    answer.map_err(|refusal| {
        let kind = match refusal {
            Refusal::UnknownTopic(_) | Refusal::UnknownTopicId(_) => AdminErrorKind::NotFound,
            Refusal::TopicExists(_) => AdminErrorKind::Conflict,
            Refusal::Conflict | Refusal::Fenced => AdminErrorKind::Unavailable,
            _ => AdminErrorKind::Invalid,
        };
        AdminError::new(kind, refusal.kafka_code().name(), refusal.to_string(), "")
    })
}

fn unavailable(error: &MetadataError) -> AdminError {
    let hint = "see /health/ready; a majority of the nodes must run";
    AdminError::new(AdminErrorKind::Unavailable, "UNAVAILABLE", error.to_string(), hint)
}
