//! Metadata groups over sockets: forwarding, retries over a leader change, restarts, snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use jackdaw_raft::NodeId;
use jackdaw_raft::testing::MemHardState;
use tempfile::TempDir;

use super::node::{LONG, TestNode, listeners, registration};
use crate::metadata::{
    Command, CommandReply, CreateTopic, Metadata, MetadataError, Refusal, TopicSelector,
};
use crate::model::{BrokerId, TopicId};

fn topic(name: &str, partitions: i32) -> CreateTopic {
    CreateTopic { name: name.into(), partitions, replication_factor: -1, ..CreateTopic::default() }
}

async fn create(metadata: &Metadata, name: &str) -> Result<TopicId, Refusal> {
    let created = metadata.create_topics(vec![topic(name, 2)], false, LONG).await;
    created.unwrap().remove(0).map(|image| image.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_serves_and_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let (mut bound, peers) = listeners(1);
    let hard = Arc::new(MemHardState::default());
    let node = TestNode::start(1, dir.path(), bound.remove(0), &peers, hard.clone()).await;
    node.metadata.register(&registration(1, 7)).await.unwrap();
    let id = create(&node.metadata, "kept").await.unwrap();
    assert_eq!(create(&node.metadata, "kept").await, Err(Refusal::TopicExists("kept".into())));
    let gone = create(&node.metadata, "gone").await.unwrap();
    let deleted = node.metadata.delete_topics(vec![TopicSelector::Id(gone)], LONG).await.unwrap();
    assert_eq!(deleted, [Ok(())]);
    assert_eq!(node.metadata.allocate_producer_ids(LONG).await.unwrap(), 0..1000);
    let before = node.metadata.image();
    node.stop().await;

    let (mut bound, peers) = listeners(1);
    let node = TestNode::start(1, dir.path(), bound.remove(0), &peers, hard).await;
    assert_eq!(*node.metadata.image(), *before, "loaded, not waited for");
    assert_eq!(node.metadata.image().topic("kept").unwrap().id, id);
    assert_eq!(node.metadata.allocate_producer_ids(LONG).await.unwrap(), 1000..2000);
    assert!(node.metadata.is_controller());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let node = TestNode::alone(dir.path()).await;
    let valid = node.metadata.create_topics(vec![topic("t", 3)], true, LONG).await.unwrap();
    let image = valid[0].as_ref().unwrap();
    assert_eq!((image.partitions.len(), image.id), (3, TopicId::ZERO));
    assert!(node.metadata.image().topic("t").is_none());
    let both = vec![topic("t", 1), topic("..", 1)];
    let outcomes = node.metadata.create_topics(both, false, LONG).await.unwrap();
    assert!(outcomes[0].is_ok() && matches!(outcomes[1], Err(Refusal::TopicName(_))));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaders_command_counts_only_in_its_term() {
    let dir = TempDir::new().unwrap();
    let node = TestNode::alone(dir.path()).await;
    let term = node.metadata.leadership().borrow().term;
    let allocate = || Command::AllocateProducerIds { broker: BrokerId(1) };
    let reply = node.metadata.propose_local(term, allocate(), LONG).await.unwrap();
    assert!(matches!(reply, CommandReply::ProducerIds { .. }));
    let late = node.metadata.propose_local(term + 1, allocate(), LONG).await;
    assert!(matches!(late, Err(MetadataError::NotController)), "{late:?}");
    node.metadata.read_barrier(term).await.unwrap();
    assert!(node.metadata.read_barrier(term + 1).await.is_err());
    node.stop().await;
}

pub(super) struct Cluster {
    pub(super) nodes: Vec<TestNode>,
    _dirs: Vec<TempDir>,
}

pub(super) async fn cluster(count: u64) -> Cluster {
    let (bound, peers) = listeners(count);
    let dirs: Vec<_> = (0..count).map(|_| TempDir::new().unwrap()).collect();
    let mut nodes = Vec::new();
    for ((id, listener), dir) in (1..).zip(bound).zip(&dirs) {
        let hard = Arc::new(MemHardState::default());
        nodes.push(TestNode::start(id, dir.path(), listener, &peers, hard).await);
    }
    for (id, node) in (1..).zip(&nodes) {
        node.metadata.register(&registration(id, 1)).await.unwrap();
    }
    for node in &nodes {
        let all = count as usize;
        node.metadata.watch().wait_for(|image| image.brokers.len() == all).await.unwrap();
        node.raft.peers().wait_for(|peers| peers.values().all(|peer| peer.alive)).await.unwrap();
    }
    Cluster { nodes, _dirs: dirs }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_takes_changes_and_sees_them_at_once() {
    let cluster = cluster(3).await;
    for (n, node) in cluster.nodes.iter().enumerate() {
        let id = create(&node.metadata, &format!("from-{n}")).await.unwrap();
        assert_eq!(node.metadata.image().topic_by_id(id).unwrap().partitions.len(), 2);
    }
    // Two nodes create the same topic at the same time: one of them is told.
    let [a, b, c] = &cluster.nodes[..] else { panic!("three nodes") };
    let (first, second) = tokio::join!(create(&a.metadata, "race"), create(&b.metadata, "race"));
    assert_eq!(first.is_ok(), second.is_err(), "{first:?} {second:?}");
    c.metadata.watch().wait_for(|image| image.topics_by_name.len() == 4).await.unwrap();
    let leaders: BTreeSet<BrokerId> = c
        .metadata
        .image()
        .topics_by_id
        .values()
        .flat_map(|topic| topic.partitions.iter().map(|replicas| replicas[0]))
        .collect();
    assert_eq!(leaders.len(), 3, "leaders spread");
    for node in cluster.nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_outlive_the_leader() {
    let mut cluster = cluster(3).await;
    let leader = cluster.nodes[0].metadata.controller().unwrap();
    let at = cluster.nodes.iter().position(|node| node.metadata.broker() == leader).unwrap();
    let dying = cluster.nodes.remove(at);
    let survivor = cluster.nodes[0].metadata.clone();
    let creating = tokio::spawn(async move {
        let mut made = Vec::new();
        for n in 0..20 {
            made.push(create(&survivor, &format!("t-{n}")).await);
        }
        made
    });
    let mut images = cluster.nodes[1].metadata.watch();
    images.wait_for(|image| image.topics_by_name.len() >= 3).await.unwrap();
    dying.stop().await;
    let made = creating.await.unwrap();
    assert!(made.iter().all(Result::is_ok), "a retry is recognised: {made:?}");
    images.wait_for(|image| image.topics_by_name.len() == 20).await.unwrap();
    let now = cluster.nodes[1].metadata.controller().unwrap();
    assert_ne!(now, leader);
    assert!(!cluster.nodes[1].metadata.is_alive(leader));
    for node in cluster.nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_everything_is_given_the_snapshot() {
    let (bound, peers) = listeners(3);
    let dirs: Vec<_> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut bound = bound.into_iter();
    let mut nodes = Vec::new();
    for id in 1..=2 {
        let hard = Arc::new(MemHardState::default());
        let listener = bound.next().unwrap();
        nodes.push(TestNode::start(id, dirs[id as usize - 1].path(), listener, &peers, hard).await);
    }
    for (id, node) in (1..).zip(&nodes) {
        node.metadata.register(&registration(id, 1)).await.unwrap();
    }
    let wanted = CreateTopic { replication_factor: 1, ..topic("t", 1) };
    let created = nodes[0].metadata.create_topics(vec![wanted], false, LONG).await.unwrap();
    assert!(created[0].is_ok(), "{created:?}");
    for node in &nodes {
        node.metadata.watch().wait_for(|image| image.topic("t").is_some()).await.unwrap();
        let purged = node.metadata.group().snapshot().await.unwrap();
        assert!(purged.is_some());
    }
    let hard = Arc::new(MemHardState::default());
    let late = TestNode::start(3, dirs[2].path(), bound.next().unwrap(), &peers, hard).await;
    let arrived = async {
        late.metadata.watch().wait_for(|image| image.topic("t").is_some()).await.unwrap();
    };
    tokio::time::timeout(LONG, arrived).await.unwrap();
    late.metadata.register(&registration(3, 1)).await.unwrap();
    assert_eq!(late.raft.id(), NodeId(3));
    nodes.push(late);
    for node in nodes {
        node.stop().await;
    }
}
