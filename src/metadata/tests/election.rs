//! Elections that somebody asks for, over sockets: passed on to whoever leads, and refused by it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jackdaw_raft::testing::{MemLog, MemMachine};
use jackdaw_raft::{Group, GroupStatus, NodeId};

use super::cluster::{Cluster, cluster};
use super::node::{LONG, TestNode};
use crate::metadata::{CreateTopic, ElectionError, TopicImage, partition_group};
use crate::model::{BrokerId, PartitionIndex, TopicId};

const PARTITIONS: i32 = 6;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("too late: {what}"))
}

/// A topic whose partitions run on every node of the cluster.
struct Placed {
    cluster: Cluster,
    topic: Arc<TopicImage>,
    /// By node, by partition.
    groups: Vec<Vec<Group>>,
}

impl Placed {
    async fn start() -> Self {
        let cluster = cluster(3).await;
        let wanted = CreateTopic {
            name: "t".into(),
            partitions: PARTITIONS,
            replication_factor: 3,
            ..CreateTopic::default()
        };
        let created = cluster.nodes[0].metadata.create_topics(vec![wanted], false, LONG).await;
        let topic = created.unwrap().remove(0).unwrap();
        let mut groups = Vec::new();
        for node in &cluster.nodes {
            let opened =
                topic.partitions.iter().enumerate().map(async |(index, replicas)| {
                    open(node, &topic, index as i32, replicas).await
                });
            groups.push(futures_util::future::join_all(opened).await);
        }
        Self { cluster, topic, groups }
    }

    fn preferred(&self, index: i32) -> BrokerId {
        self.topic.partitions[index as usize][0]
    }

    fn at(&self, broker: BrokerId, index: i32) -> &Group {
        &self.groups[broker.0 as usize - 1][index as usize]
    }

    fn all(&self) -> BTreeSet<(TopicId, PartitionIndex)> {
        (0..PARTITIONS).map(|index| (self.topic.id, PartitionIndex(index))).collect()
    }

    /// Waits until node `at` knows a leader of the partition that `is` accepts.
    async fn known(&self, at: usize, index: i32, is: impl Fn(BrokerId) -> bool) -> BrokerId {
        let metadata = &self.cluster.nodes[at].metadata;
        let mut version = metadata.leadership_version();
        let led = async {
            loop {
                version.borrow_and_update();
                match metadata.leader_of(self.topic.id, PartitionIndex(index)) {
                    Some((leader, _)) if is(leader) => return leader,
                    // What a leader knows of itself waits for its voters, without a notice.
                    _ => drop(tokio::time::timeout(LONG / 300, version.changed()).await),
                }
            }
        };
        within("the leader is known", led).await
    }

    /// Sees to it that another replica leads than the preferred one, which could take over.
    async fn lead_elsewhere(&self, index: i32) {
        let preferred = self.preferred(index);
        let mut leader = self.known(0, index, |_| true).await;
        while leader == preferred {
            let to = self.topic.partitions[index as usize][1];
            let moved = self.at(leader, index).transfer_leader(NodeId(to.0 as u64));
            // Where another voter was faster, that one is as good.
            if within("a transfer", moved).await.is_ok() {
                self.known(0, index, |leader| leader != preferred).await;
            }
            tokio::task::yield_now().await;
            leader = self.known(0, index, |_| true).await;
        }
        let mut status = self.at(leader, index).status();
        let node = NodeId(preferred.0 as u64);
        let has_all = |status: &GroupStatus| status.lag(node) == Some(0);
        drop(within("it has all", status.wait_for(has_all)).await.unwrap());
    }
}

async fn open(node: &TestNode, topic: &TopicImage, index: i32, replicas: &[BrokerId]) -> Group {
    let voters = replicas.iter().map(|broker| NodeId(broker.0 as u64));
    let (log, machine) = (Arc::<MemLog>::default(), Arc::<MemMachine>::default());
    let id = partition_group(topic.id, PartitionIndex(index));
    let group = node.raft.open_group(id, log, machine, voters.clone().next()).await.unwrap();
    group.initialize(voters.collect()).await.unwrap();
    group
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_hand_over_to_the_preferred_replicas_whoever_is_asked() {
    let placed = Placed::start().await;
    for index in 0..PARTITIONS {
        placed.lead_elsewhere(index).await;
    }
    let metadata = placed.cluster.nodes[0].metadata.clone();
    let unknown = (placed.topic.id, PartitionIndex(PARTITIONS));
    let mut asked = placed.all();
    asked.insert(unknown);
    let outcomes = metadata.elect_preferred(asked, LONG).await;
    assert_eq!(outcomes[&unknown], Err(ElectionError::UnknownPartition));
    for place in placed.all() {
        assert_eq!(outcomes[&place], Ok(()), "{place:?}");
        let index = place.1.0;
        let preferred = placed.preferred(index);
        placed.known(0, index, |leader| leader == preferred).await;
    }
    let again = metadata.elect_preferred(placed.all(), LONG).await;
    assert!(again.values().all(|outcome| *outcome == Err(ElectionError::NotNeeded)), "{again:?}");

    placed.lead_elsewhere(0).await;
    let first = BTreeSet::from([(placed.topic.id, PartitionIndex(0))]);
    let late = metadata.elect_preferred(first, Duration::ZERO).await;
    assert_eq!(late.into_values().next(), Some(Err(ElectionError::TimedOut)));
    for node in placed.cluster.nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preferred_replica_that_is_down_is_not_available() {
    let placed = Placed::start().await;
    let index = (0..PARTITIONS).find(|index| placed.preferred(*index) != BrokerId(1)).unwrap();
    placed.lead_elsewhere(index).await;
    let preferred = placed.preferred(index);
    let node = NodeId(preferred.0 as u64);
    placed.cluster.nodes[preferred.0 as usize - 1].raft.shutdown().await;
    for survivor in placed.cluster.nodes.iter().filter(|node| node.metadata.broker() != preferred) {
        let mut peers = survivor.raft.peers();
        drop(within("it is gone", peers.wait_for(|peers| !peers[&node].alive)).await.unwrap());
    }
    let asked = BTreeSet::from([(placed.topic.id, PartitionIndex(index))]);
    let outcome = placed.cluster.nodes[0].metadata.elect_preferred(asked, LONG).await;
    let outcome = outcome.into_values().next().unwrap();
    let expected = ElectionError::NotAvailable(format!("node {node} is down"));
    assert_eq!(outcome, Err(expected));
    for node in placed.cluster.nodes {
        node.stop().await;
    }
}
