//! What this node knows to be wrong with partitions, for status pages and metrics.
//!
//! Of every partition it knows whether somebody leads it, which nodes are down and which replicas are being
//! refilled; of those that it leads how far behind the others are; of its own replicas why they do not run.
//!
//! **Invariant:** nothing is asked of other nodes, and no lock is held from one partition to the next: the
//! look over some thousand partitions takes milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jackdaw_raft::{Group, Lag, NodeId, PeerStatus};

use super::admin_backend::LiveAdmin;
use super::lock;
use super::quarantine::quarantined;
use crate::admin::{
    Absence, HealthState, PartitionHealth, PartitionsAsked, PartitionsPage, QuarantineState,
    QuarantineView, ReplicaTrouble, Trouble,
};
use crate::metadata::TopicImage;
use crate::metrics::{PeerSample, ReplicationSample};
use crate::model::{BrokerId, PartitionIndex, TopicId};

/// What one look goes by.
struct Look<'a> {
    admin: &'a LiveAdmin,
    alive: BTreeSet<BrokerId>,
    /// This node's own replicas that are not what they should be.
    quarantined: BTreeMap<(String, i32), QuarantineView>,
}

impl LiveAdmin {
    /// A page of the cluster's partitions.
    pub(super) fn page(&self, asked: &PartitionsAsked) -> PartitionsPage {
        let look = self.look();
        let image = self.metadata.image();
        let first = asked.after.as_ref().map_or("", |(topic, _)| topic.as_str());
        let bounds = (Bound::Included(first), Bound::Unbounded);
        let is_behind = |topic: &TopicImage, index: i32| match &asked.after {
            Some((name, after)) => *topic.name != **name || index > *after,
            None => true,
        };
        let partitions = image.topics_by_name.range::<str, _>(bounds).flat_map(|(_, topic)| {
            let indexes = (0..).zip(&topic.partitions).map(|(index, _)| index);
            indexes
                .filter(|index| is_behind(topic, *index))
                .map(|index| look.partition(topic, index))
        });
        let is_asked = |partition: &PartitionHealth| {
            !asked.unhealthy || partition.state != HealthState::Healthy
        };
        let partitions: Vec<_> = partitions.filter(is_asked).take(asked.limit).collect();
        let last = partitions.last().filter(|_| partitions.len() == asked.limit);
        let next = last.map(|last| format!("{}-{}", last.topic, last.partition));
        PartitionsPage { partitions, next }
    }

    /// Where this node's groups stand.
    pub(super) fn replication(&self) -> ReplicationSample {
        let counts = self.raft.counts();
        let mut sample = ReplicationSample {
            groups: counts.groups as u64,
            groups_led: counts.led as u64,
            elections_stood: counts.elections_stood,
            elections_won: counts.elections_won,
            transfers_made: counts.transfers_made,
            transfers_failed: counts.transfers_failed,
            catch_up_bytes: counts.catch_up_bytes,
            ..ReplicationSample::default()
        };
        let peers = self.raft.peers().borrow().clone();
        let peer = |(node, peer): (&NodeId, &PeerStatus)| PeerSample {
            peer: node.0,
            alive: peer.alive,
            round_trip: peer.rtt,
        };
        sample.peers = peers.iter().map(peer).collect();
        let alive = self.metadata.alive();
        for partition in self.partitions.all() {
            let (topic, index) = (partition.topic_id(), partition.name().partition);
            let status = partition.group().status().borrow();
            let others = status.voters.iter().filter(|node| **node != self.raft.id());
            if status.is_leader {
                let lags = others.clone().filter_map(|node| status.lag(*node));
                sample.lag_max = lags.fold(sample.lag_max, u64::max);
                let troubled = |node: &NodeId| {
                    let broker = BrokerId(node.0 as i32);
                    self.elsewhere(&alive, topic, index, broker, Some(partition.group())).is_some()
                };
                sample.under_replicated += u64::from(others.clone().any(troubled));
            }
            sample.leaderless += u64::from(self.metadata.leader_of(topic, index).is_none());
        }
        let troubles = lock(&self.troubles).clone();
        let out = troubles.into_iter().filter(|(_, trouble)| trouble.is_out);
        let is_leaderless = |(topic, index)| self.metadata.leader_of(topic, index).is_none();
        sample.leaderless += out.filter(|(key, _)| is_leaderless(*key)).count() as u64;
        sample
    }

    /// What is wrong with another node's replica; `group` is the one on this node.
    fn elsewhere(
        &self,
        alive: &BTreeSet<BrokerId>,
        topic: TopicId,
        partition: PartitionIndex,
        broker: BrokerId,
        group: Option<&Group>,
    ) -> Option<Trouble> {
        if !alive.contains(&broker) {
            return Some(Trouble::Down { absence: self.absence(broker) });
        }
        if self.metadata.is_refilling(topic, partition, broker) {
            return Some(Trouble::Refilling { progress: None });
        }
        let (group, node) = (group?, NodeId(broker.0 as u64));
        let Lag { entries, bytes } = group.shortfall(node)?;
        let is_mute = !group.status().borrow().replication.contains_key(&node);
        Some(Trouble::Behind { entries, bytes, is_mute })
    }

    /// What is known of a node that is not heard.
    fn absence(&self, broker: BrokerId) -> Absence {
        let peers = self.raft.peers();
        let refused = |peer: &PeerStatus| peer.refused;
        match peers.borrow().get(&NodeId(broker.0 as u64)).is_some_and(refused) {
            true => Absence::Ended,
            false => Absence::Silent,
        }
    }

    fn look(&self) -> Look<'_> {
        let quarantined = quarantined(&self.partitions, &lock(&self.troubles));
        let named = |view: QuarantineView| ((view.topic.clone(), view.partition), view);
        Look {
            admin: self,
            alive: self.metadata.alive(),
            quarantined: quarantined.into_iter().map(named).collect(),
        }
    }
}

impl Look<'_> {
    fn partition(&self, topic: &TopicImage, index: i32) -> PartitionHealth {
        let partition = PartitionIndex(index);
        let leader = self.admin.metadata.leader_of(topic.id, partition);
        let replicas = topic.replicas(partition).unwrap_or_default();
        let here = self.admin.partitions.get(topic.id, partition);
        let group = here.as_ref().map(|here| here.group());
        let trouble = |broker: &BrokerId| {
            let trouble = if *broker == self.admin.metadata.broker() {
                self.here(topic, index, group.is_some())
            } else {
                self.admin.elsewhere(&self.alive, topic.id, partition, *broker, group)
            };
            trouble.map(|trouble| ReplicaTrouble { node: broker.0, trouble })
        };
        PartitionHealth::new(
            topic.name.to_string(),
            index,
            leader.map(|(leader, _)| leader.0),
            replicas.iter().map(|broker| broker.0).collect(),
            replicas.iter().filter_map(trouble).collect(),
        )
    }

    /// What is wrong with this node's own replica.
    fn here(&self, topic: &TopicImage, index: i32, runs: bool) -> Option<Trouble> {
        let Some(view) = self.quarantined.get(&(topic.name.to_string(), index)) else {
            return (!runs).then_some(Trouble::Opening);
        };
        Some(match view.state {
            QuarantineState::Out => Trouble::Out { reason: view.reason.clone() },
            QuarantineState::Damaged => Trouble::Damaged { reason: view.reason.clone() },
            QuarantineState::Unproven => Trouble::Unproven,
            QuarantineState::Waiting | QuarantineState::Refilling => {
                let has = view.applied_index.map_or(0, |at| at + 1);
                Trouble::Refilling { progress: view.end_index.map(|end| (has, end + 1)) }
            }
        })
    }
}
