//! Replicas whose log is gone: they get it back, and do not vote before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::*;
use crate::*;

/// Three times the longest election time-out: who could elect would have by now.
pub(super) const LONG: Duration = Duration::from_secs(3);

pub(super) struct Node {
    pub(super) raft: RaftNode,
    pub(super) group: Group,
}

/// Nodes that start and stop one by one.
pub(super) struct Nodes {
    pub(super) homes: Vec<Home>,
    peers: BTreeMap<NodeId, String>,
}

impl Nodes {
    pub(super) fn new(count: u64) -> Self {
        let homes = homes(count);
        Self { peers: addresses(&homes), homes }
    }

    async fn open(&mut self, at: usize) -> Node {
        let raft = self.homes[at].start(self.peers.clone()).await;
        let group = self.homes[at].open(&raft).await;
        Node { raft, group }
    }

    /// As a broker starts a replica.
    pub(super) async fn start(&mut self, at: usize) -> Node {
        let node = self.open(at).await;
        node.group.initialize(self.peers.keys().copied().collect()).await.unwrap();
        node
    }

    pub(super) async fn start_all(&mut self) -> Vec<Node> {
        let mut all = Vec::new();
        for at in 0..self.homes.len() {
            all.push(self.start(at).await);
        }
        all
    }

    pub(super) fn lose_log(&mut self, at: usize) {
        self.homes[at].log = Default::default();
        self.homes[at].machine = Default::default();
    }

    pub(super) fn hard(&self, at: usize) -> HardState {
        self.homes[at].hard.load(GROUP).unwrap()
    }
}

pub(super) async fn votes_again(node: &Node) {
    let mut suffrage = node.group.suffrage();
    let voter = suffrage.wait_for(|suffrage| *suffrage == Suffrage::Voter);
    let _ = within("the replica votes again", voter).await.unwrap();
}

/// Waits until one of the nodes is ready to lead, and gives its position.
pub(super) async fn leader(nodes: &[&Node]) -> usize {
    let ready = nodes.iter().enumerate().map(|(position, node)| {
        let mut status = node.group.status();
        Box::pin(async move {
            match status.wait_for(|status| status.leader_ready).await {
                Ok(_) => position,
                Err(_) => std::future::pending().await,
            }
        })
    });
    within("a leader", futures_util::future::select_all(ready)).await.0
}

pub(super) async fn never_leads(node: &Node, why: &str) {
    let mut status = node.group.status();
    node.group.elect().await;
    let led = status.wait_for(|status| status.is_leader);
    assert!(tokio::time::timeout(LONG, led).await.is_err(), "{why}");
}

pub(super) async fn stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_lost_log_shared_with_a_dead_leader_is_not_lost() {
    let mut nodes = Nodes::new(3);
    let all = nodes.start_all().await;
    let a = leader(&all.iter().collect::<Vec<_>>()).await;
    let (b, n) = ((a + 1) % 3, (a + 2) % 3);
    propose_all(&all[a].group, 0..20).await;
    applied_everywhere(&nodes.homes, &bytes(0..20)).await;
    all[b].raft.shutdown().await;
    // Acknowledged by A and N alone. Then N loses its log, and A dies.
    propose_all(&all[a].group, 20..40).await;
    all[n].raft.shutdown().await;
    all[a].raft.shutdown().await;
    nodes.lose_log(n);

    // B lacks what was acknowledged: with N's vote it would lead, and all would be without it.
    let (b_node, n_node) = (nodes.start(b).await, nodes.start(n).await);
    assert_eq!(*n_node.group.suffrage().borrow(), Suffrage::Refilling { end: None });
    let before = nodes.hard(n);
    assert!(before.refilling && before.committed.is_none() && before.vote.is_some());
    never_leads(&b_node, "B leads without acknowledged entries").await;
    assert!(!n_node.group.status().borrow().is_leader);
    assert_eq!(nodes.hard(n), before, "N has voted, or changed its term");

    // With A back all is well: it leads, by B's vote, and fills both.
    let a_node = nodes.start(a).await;
    assert_eq!(leader(&[&a_node, &b_node, &n_node]).await, 0);
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    votes_again(&n_node).await;
    assert!(!nodes.hard(n).refilling);
    propose_all(&a_node.group, 40..50).await;
    applied_everywhere(&nodes.homes, &bytes(0..50)).await;

    // And N's vote counts again.
    a_node.raft.shutdown().await;
    let rest = [b_node, n_node];
    let next = leader(&[&rest[0], &rest[1]]).await;
    propose_all(&rest[next].group, 50..60).await;
    for at in [b, n] {
        applied_everywhere(&nodes.homes[at..=at], &bytes(0..60)).await;
    }
    stop(rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_between_changes_nothing() {
    let mut nodes = Nodes::new(3);
    let all = nodes.start_all().await;
    let a = leader(&all.iter().collect::<Vec<_>>()).await;
    let (b, n) = ((a + 1) % 3, (a + 2) % 3);
    propose_all(&all[a].group, 0..40).await;
    all[n].raft.shutdown().await;
    nodes.lose_log(n);
    // It gets entries, and none is on its disk.
    nodes.homes[n].log.hold_flushes(true);
    let n_node = nodes.start(n).await;
    let end = nodes.homes[a].log.state().unwrap().last.unwrap().index;
    let told = Suffrage::Refilling { end: Some(end) };
    let mut suffrage = n_node.group.suffrage();
    let _ = within("told", suffrage.wait_for(|suffrage| *suffrage == told)).await.unwrap();
    until(&n_node.group, "has some of the log", |status| status.last.is_some()).await;
    assert!(nodes.hard(n).refilling);
    nodes.homes[n].log.hold_flushes(false);
    n_node.raft.shutdown().await;

    // The log that it has now would look like any other's: what it was is remembered.
    nodes.homes[n].hard.save_refilling(GROUP, true).await.unwrap();
    all[a].raft.shutdown().await;
    all[b].raft.shutdown().await;
    let n_node = nodes.start(n).await;
    assert_eq!(*n_node.group.suffrage().borrow(), Suffrage::Refilling { end: None });
    let before = nodes.hard(n);
    never_leads(&n_node, "it leads").await;
    assert_eq!(nodes.hard(n), before, "N campaigned");
    let (a_node, b_node) = (nodes.start(a).await, nodes.start(b).await);
    votes_again(&n_node).await;
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    stop([a_node, b_node, n_node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_the_one_with_the_log_is_voted_for() {
    let mut nodes = Nodes::new(2);
    let both = [nodes.start(0).await, nodes.start(1).await];
    let n = leader(&[&both[0], &both[1]]).await;
    propose_all(&both[n].group, 0..20).await;
    stop(both).await;
    nodes.lose_log(n);
    let both = [nodes.start(0).await, nodes.start(1).await];
    assert_eq!(leader(&[&both[0], &both[1]]).await, 1 - n);
    votes_again(&both[n]).await;
    propose_all(&both[1 - n].group, 20..30).await;
    applied_everywhere(&nodes.homes, &bytes(0..30)).await;
    stop(both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_votes_once_its_log_has_the_members() {
    let mut nodes = Nodes::new(2);
    let (a, n) = (nodes.start(0).await, nodes.open(1).await);
    assert_eq!(*n.group.suffrage().borrow(), Suffrage::New);
    never_leads(&a, "N voted without a log").await;
    assert_eq!(nodes.hard(1).vote, None);
    n.group.initialize(nodes.peers.keys().copied().collect()).await.unwrap();
    let both = [a, n];
    let led = leader(&[&both[0], &both[1]]).await;
    propose_all(&both[led].group, 0..10).await;
    applied_everywhere(&nodes.homes, &bytes(0..10)).await;
    stop(both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_nothing_begins_anew() {
    let mut nodes = Nodes::new(1);
    let node = nodes.start(0).await;
    leader(&[&node]).await;
    propose_all(&node.group, 0..10).await;
    node.raft.shutdown().await;
    nodes.lose_log(0);
    let node = nodes.start(0).await;
    never_leads(&node, "it leads without its records").await;
    assert!(node.group.suffrage().borrow().is_refilling());
    node.raft.shutdown().await;
}

/// Its vote has told the leader what was in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_voted_and_loses_its_log_while_its_node_runs_gets_it_back() {
    let mut nodes = Nodes::new(3);
    let mut all = nodes.start_all().await;
    let a = leader(&all.iter().collect::<Vec<_>>()).await;
    let b = (a + 1) % 3;
    propose_all(&all[a].group, 0..40).await;
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    let target = nodes.homes[b].id;
    within("a transfer", all[a].group.transfer_leader(target)).await.unwrap();
    until(&all[b].group, "it is ready", |status| status.leader_ready).await;

    all[a].raft.close_group(GROUP).await.unwrap();
    nodes.lose_log(a);
    all[a].group = nodes.homes[a].open(&all[a].raft).await;
    all[a].group.initialize(nodes.peers.keys().copied().collect()).await.unwrap();
    votes_again(&all[a]).await;
    propose_all(&all[b].group, 40..50).await;
    applied_everywhere(&nodes.homes, &bytes(0..50)).await;
    stop(all).await;
}
