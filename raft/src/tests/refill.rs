//! Replicas whose log is gone: they get it back, and do not vote before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::*;
use crate::*;

/// Three times the longest election time-out: who could elect would have by now.
const LONG: Duration = Duration::from_secs(3);

struct Node {
    raft: RaftNode,
    group: Group,
}

/// Nodes that start and stop one by one.
struct Nodes {
    homes: Vec<Home>,
    peers: BTreeMap<NodeId, String>,
}

impl Nodes {
    fn new(count: u64) -> Self {
        let homes = homes(count);
        Self { peers: addresses(&homes), homes }
    }

    async fn open(&mut self, at: usize) -> Node {
        let raft = self.homes[at].start(self.peers.clone()).await;
        let group = self.homes[at].open(&raft).await;
        Node { raft, group }
    }

    /// As a broker starts a replica.
    async fn start(&mut self, at: usize) -> Node {
        let node = self.open(at).await;
        node.group.initialize(self.peers.keys().copied().collect()).await.unwrap();
        node
    }

    fn lose_log(&mut self, at: usize) {
        self.homes[at].log = Default::default();
        self.homes[at].machine = Default::default();
    }

    fn hard(&self, at: usize) -> HardState {
        self.homes[at].hard.load(GROUP).unwrap()
    }
}

async fn is_member(node: &Node) {
    let mut standing = node.group.standing();
    let member = standing.wait_for(|standing| *standing == Standing::Member);
    let _ = within("the replica is a member again", member).await.unwrap();
}

async fn lead(node: &Node) {
    let leads = async {
        let mut status = node.group.status();
        while !status.borrow_and_update().leader_ready {
            node.group.elect().await;
            let _ = tokio::time::timeout(Duration::from_millis(200), status.changed()).await;
        }
    };
    within("the node leads", leads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_lost_log_shared_with_a_dead_leader_is_not_lost() {
    let mut nodes = Nodes::new(3);
    let (a, b, n) = (nodes.start(0).await, nodes.start(1).await, nodes.start(2).await);
    lead(&a).await;
    propose_all(&a.group, 0..20).await;
    applied_everywhere(&nodes.homes, &bytes(0..20)).await;
    b.raft.shutdown().await;
    // Acknowledged by A and N alone. Then N loses its log, and A dies.
    propose_all(&a.group, 20..40).await;
    n.raft.shutdown().await;
    a.raft.shutdown().await;
    nodes.lose_log(2);

    // B lacks what was acknowledged: with N's vote it would lead, and all would be without it.
    let (b, n) = (nodes.start(1).await, nodes.start(2).await);
    assert_eq!(*n.group.standing().borrow(), Standing::Refilling { end: None });
    let before = nodes.hard(2);
    assert!(before.refilling && before.committed.is_none() && before.vote.is_some());
    let mut status = b.group.status();
    b.group.elect().await;
    n.group.elect().await;
    let led = status.wait_for(|status| status.is_leader);
    assert!(tokio::time::timeout(LONG, led).await.is_err(), "B leads without acknowledged entries");
    assert_eq!(nodes.hard(2), before, "N has voted, or changed its term");

    // With A back all is well: it leads, by B's vote, and fills both.
    let a = nodes.start(0).await;
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    assert!(a.group.status().borrow().is_leader);
    is_member(&n).await;
    assert!(!nodes.hard(2).refilling);
    propose_all(&a.group, 40..50).await;
    applied_everywhere(&nodes.homes, &bytes(0..50)).await;

    // And N's vote counts again.
    a.raft.shutdown().await;
    lead(&b).await;
    propose_all(&b.group, 50..60).await;
    applied_everywhere(&nodes.homes[1..], &bytes(0..60)).await;
    for node in [b, n] {
        node.raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_between_changes_nothing() {
    let mut nodes = Nodes::new(3);
    let (a, b, n) = (nodes.start(0).await, nodes.start(1).await, nodes.start(2).await);
    lead(&a).await;
    propose_all(&a.group, 0..40).await;
    n.raft.shutdown().await;
    nodes.lose_log(2);
    // It gets entries, and none is on its disk.
    nodes.homes[2].log.hold_flushes(true);
    let n = nodes.start(2).await;
    let end = nodes.homes[0].log.state().unwrap().last.unwrap().index;
    let told = Standing::Refilling { end: Some(end) };
    let mut standing = n.group.standing();
    let _ = within("told", standing.wait_for(|standing| *standing == told)).await.unwrap();
    until(&n.group, "has some of the log", |status| status.last.is_some()).await;
    assert!(nodes.hard(2).refilling);
    nodes.homes[2].log.hold_flushes(false);
    n.raft.shutdown().await;

    // The log that it has now would look like any other's: what it was is remembered.
    nodes.homes[2].hard.save_refilling(GROUP, true).await.unwrap();
    a.raft.shutdown().await;
    b.raft.shutdown().await;
    let n = nodes.start(2).await;
    assert_eq!(*n.group.standing().borrow(), Standing::Refilling { end: None });
    n.group.elect().await;
    let mut status = n.group.status();
    let vote = nodes.hard(2).vote;
    let campaigned = status.wait_for(|status| status.term > vote.unwrap().term);
    assert!(tokio::time::timeout(LONG, campaigned).await.is_err(), "N campaigned");
    let (a, b) = (nodes.start(0).await, nodes.start(1).await);
    is_member(&n).await;
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    for node in [a, b, n] {
        node.raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_the_one_with_the_log_is_voted_for() {
    let mut nodes = Nodes::new(2);
    let (a, n) = (nodes.start(0).await, nodes.start(1).await);
    lead(&n).await;
    propose_all(&n.group, 0..20).await;
    a.raft.shutdown().await;
    n.raft.shutdown().await;
    nodes.lose_log(1);
    let (a, n) = (nodes.start(0).await, nodes.start(1).await);
    lead(&a).await;
    is_member(&n).await;
    propose_all(&a.group, 20..30).await;
    applied_everywhere(&nodes.homes, &bytes(0..30)).await;
    for node in [a, n] {
        node.raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_votes_once_its_log_has_the_members() {
    let mut nodes = Nodes::new(2);
    let (a, n) = (nodes.start(0).await, nodes.open(1).await);
    assert_eq!(*n.group.standing().borrow(), Standing::New);
    let mut status = a.group.status();
    a.group.elect().await;
    let led = status.wait_for(|status| status.leader.is_some());
    assert!(tokio::time::timeout(LONG, led).await.is_err(), "N voted without a log");
    assert_eq!(nodes.hard(1).vote, None);
    n.group.initialize(nodes.peers.keys().copied().collect()).await.unwrap();
    lead(&a).await;
    propose_all(&a.group, 0..10).await;
    applied_everywhere(&nodes.homes, &bytes(0..10)).await;
    assert!(!nodes.homes[1].log.entries().is_empty());
    for node in [a, n] {
        node.raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_nothing_begins_anew() {
    let mut nodes = Nodes::new(1);
    let node = nodes.start(0).await;
    lead(&node).await;
    propose_all(&node.group, 0..10).await;
    node.raft.shutdown().await;
    nodes.lose_log(0);
    let node = nodes.start(0).await;
    let mut status = node.group.status();
    node.group.elect().await;
    let led = status.wait_for(|status| status.is_leader);
    assert!(tokio::time::timeout(LONG, led).await.is_err(), "it leads without its records");
    assert!(node.group.standing().borrow().is_refilling());
    node.raft.shutdown().await;
}
