//! A harness of nodes, and the life of a group among them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;

use crate::testing::{MemHardState, MemLog, MemMachine};
use crate::*;

pub(super) const GROUP: GroupId = GroupId { topic: 7, partition: 3 };
pub(super) const SOON: Duration = Duration::from_secs(20);

/// What of a node survives its shutdown.
pub(super) struct Home {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) log: Arc<MemLog>,
    pub(super) machine: Arc<MemMachine>,
    pub(super) hard: Arc<MemHardState>,
    /// Stands first, and is given the group back.
    pub(super) preferred: Option<NodeId>,
    pub(super) settle_ms: u64,
    pub(super) peer_dead_ms: u64,
    pub(super) catch_up_bytes_per_s: u64,
    listener: Option<TcpListener>,
}

pub(super) fn homes(count: u64) -> Vec<Home> {
    let home = |id| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Home {
            id: NodeId(id),
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
            machine: Arc::default(),
            hard: Arc::default(),
            preferred: None,
            settle_ms: 300,
            peer_dead_ms: Timing::default().peer_dead_ms,
            catch_up_bytes_per_s: 1 << 30,
            listener: Some(listener),
        }
    };
    (1..=count).map(home).collect()
}

pub(super) fn addresses(homes: &[Home]) -> BTreeMap<NodeId, String> {
    homes.iter().map(|home| (home.id, home.address.to_string())).collect()
}

pub(super) fn cluster_id() -> ClusterId {
    ClusterId::new("test").unwrap()
}

impl Home {
    pub(super) async fn start(&mut self, peers: BTreeMap<NodeId, String>) -> RaftNode {
        let listener = self.listener.take();
        let listener = listener.unwrap_or_else(|| TcpListener::bind(self.address).unwrap());
        let mut options = NodeOptions::new(self.id, cluster_id(), peers);
        options.timing.settle_ms = self.settle_ms;
        options.timing.peer_dead_ms = self.peer_dead_ms;
        options.limits.catch_up_bytes_per_s = self.catch_up_bytes_per_s;
        RaftNode::start(options, listener, self.hard.clone()).await.unwrap()
    }

    pub(super) async fn open(&self, node: &RaftNode) -> Group {
        node.open_group(GROUP, self.log.clone(), self.machine.clone(), self.preferred)
            .await
            .unwrap()
    }
}

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {SOON:?}: {what}"),
    }
}

pub(super) async fn until(group: &Group, what: &str, met: impl FnMut(&GroupStatus) -> bool) {
    let mut status = group.status();
    let _ = within(what, status.wait_for(met)).await.unwrap();
}

/// Nodes that all hold [`GROUP`], initialized with all of them as voters.
pub(super) struct Cluster {
    pub(super) homes: Vec<Home>,
    pub(super) nodes: Vec<RaftNode>,
    pub(super) groups: Vec<Group>,
}

impl Cluster {
    pub(super) async fn start(count: u64) -> Self {
        Self::start_preferring(count, None).await
    }

    pub(super) async fn start_preferring(count: u64, preferred: Option<NodeId>) -> Self {
        let mut homes = homes(count);
        homes.iter_mut().for_each(|home| home.preferred = preferred);
        Self::start_at(homes).await
    }

    pub(super) async fn start_at(mut homes: Vec<Home>) -> Self {
        let peers = addresses(&homes);
        let voters: BTreeSet<_> = peers.keys().copied().collect();
        let (mut nodes, mut groups) = (Vec::new(), Vec::new());
        for home in &mut homes {
            let node = home.start(peers.clone()).await;
            let group = home.open(&node).await;
            group.initialize(voters.clone()).await.unwrap();
            nodes.push(node);
            groups.push(group);
        }
        Self { homes, nodes, groups }
    }

    /// Three nodes that all have applied the numbers of `range`.
    pub(super) async fn written(range: std::ops::Range<u64>) -> Self {
        Self::written_at(homes(3), range).await
    }

    pub(super) async fn written_at(homes: Vec<Home>, range: std::ops::Range<u64>) -> Self {
        let cluster = Self::start_at(homes).await;
        cluster.groups[0].elect().await;
        propose_all(&cluster.groups[cluster.leader().await], range.clone()).await;
        applied_everywhere(&cluster.homes, &bytes(range)).await;
        cluster
    }

    /// Has the leader hand the group to another node: from whom, and to whom.
    pub(super) async fn hand_over(&self) -> (usize, usize) {
        let leader = self.leader().await;
        let to = (leader + 1) % self.nodes.len();
        let transfer = self.groups[leader].transfer_leader(self.homes[to].id);
        within("a transfer", transfer).await.unwrap();
        (leader, to)
    }

    /// Waits until one of the groups is ready to lead, and gives its position.
    pub(super) async fn leader(&self) -> usize {
        let ready = self.groups.iter().enumerate().map(|(position, group)| {
            let mut status = group.status();
            Box::pin(async move {
                match status.wait_for(|status| status.leader_ready).await {
                    Ok(_) => position,
                    Err(_) => std::future::pending().await,
                }
            })
        });
        within("a leader", futures_util::future::select_all(ready)).await.0
    }

    /// Shuts a node down and starts it again, once `witness` has seen either.
    pub(super) async fn restart(&mut self, at: usize, witness: usize) {
        let id = self.homes[at].id;
        let mut seen = self.nodes[witness].peers();
        self.nodes[at].shutdown().await;
        drop(within("it is gone", seen.wait_for(|peers| !peers[&id].alive)).await.unwrap());
        let peers = addresses(&self.homes);
        self.nodes[at] = self.homes[at].start(peers).await;
        self.groups[at] = self.homes[at].open(&self.nodes[at]).await;
        drop(within("it is back", seen.wait_for(|peers| peers[&id].alive)).await.unwrap());
    }

    pub(super) async fn stop(&self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
    }
}

pub(super) fn data(range: std::ops::Range<u64>) -> Vec<Data> {
    range.map(|number| Data::new(number.to_be_bytes().to_vec())).collect()
}

pub(super) fn bytes(range: std::ops::Range<u64>) -> Vec<Bytes> {
    data(range).into_iter().map(|data| data.bytes).collect()
}

/// Proposes the numbers of `range` and checks that they were applied in order.
pub(super) async fn propose_all(group: &Group, range: std::ops::Range<u64>) {
    let mut last = None;
    for receiver in group.propose(data(range)).await.unwrap() {
        let applied = within("an applied proposal", receiver).await.unwrap().unwrap();
        assert!(last < Some(applied.log_id), "{last:?} before {}", applied.log_id);
        last = Some(applied.log_id);
    }
}

pub(super) async fn applied_everywhere(homes: &[Home], expected: &[Bytes]) {
    for home in homes {
        let mut payloads = home.machine.payloads();
        let what = format!("node {} applies everything", home.id);
        let found = within(&what, payloads.wait_for(|found| found.len() >= expected.len())).await;
        assert_eq!(found.unwrap().as_slice(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_stays_as_it_is_wakes_nobody() {
    let cluster = Cluster::start(1).await;
    let group = &cluster.groups[0];
    until(group, "leads", |status| status.leader_ready).await;
    let mut status = group.status();
    let before = status.borrow_and_update();
    // Each is a turn of openraft's core, the last one of which tells of the others.
    for _ in 0..3 {
        group.raft().with_raft_state(|_| ()).await.unwrap();
    }
    assert!(status.changed().now_or_never().is_none(), "{before:?}, {:?}", status.borrow());
    cluster.stop().await;
    while status.changed().await.is_ok() {}
    assert!(!status.borrow().is_leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_leads_at_once_and_again_after_a_restart() {
    let mut homes = homes(1);
    let home = &mut homes[0];
    let began = Instant::now();
    let node = home.start(BTreeMap::new()).await;
    let group = home.open(&node).await;
    group.initialize([home.id].into()).await.unwrap();
    until(&group, "leads", |status| status.leader_ready).await;
    let first = began.elapsed();
    propose_all(&group, 0..10).await;
    group.read_barrier().await.unwrap();
    node.shutdown().await;
    assert!(!group.status().borrow().is_leader);
    assert_eq!(group.propose(data(0..1)).await.unwrap_err(), ProposeError::Shutdown);

    let began = Instant::now();
    let node = home.start(BTreeMap::new()).await;
    let group = home.open(&node).await;
    until(&group, "leads again", |status| status.leader_ready).await;
    let again = began.elapsed();
    group.initialize([home.id].into()).await.unwrap();
    propose_all(&group, 10..20).await;
    applied_everywhere(&homes, &bytes(0..20)).await;
    println!("start to leader: {first:?}, after a restart: {again:?}");
    // Far below an election time-out (500 ms), which it would take without being told to.
    assert!(first < Duration::from_millis(250), "first start took {first:?}");
    assert!(again < Duration::from_millis(250), "second start took {again:?}");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_elect_replicate_survive_a_leader_and_catch_up() {
    let mut cluster = Cluster::start(3).await;
    cluster.groups[1].elect().await;
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 0..200).await;
    applied_everywhere(&cluster.homes, &bytes(0..200)).await;
    for node in &cluster.nodes {
        let mut version = node.leadership_version();
        let lead = cluster.homes[leader].id;
        let known = async {
            while node.leader_of(GROUP).is_none_or(|known| known.leader != lead) {
                version.changed().await.unwrap();
            }
        };
        within("every node knows the leader", known).await;
    }

    cluster.nodes[leader].shutdown().await;
    let (old_home, old_group) = (cluster.homes.remove(leader), cluster.groups.remove(leader));
    cluster.nodes.remove(leader);
    let next = cluster.leader().await;
    propose_all(&cluster.groups[next], 200..400).await;
    let refused = old_group.propose(data(0..1)).await.unwrap_err();
    assert_eq!(refused, ProposeError::Shutdown);

    let mut old_home = old_home;
    let mut peers = addresses(&cluster.homes);
    peers.insert(old_home.id, old_home.address.to_string());
    let node = old_home.start(peers).await;
    let group = old_home.open(&node).await;
    cluster.homes.push(old_home);
    applied_everywhere(&cluster.homes, &bytes(0..400)).await;
    until(&group, "knows its leader", |status| status.leader.is_some()).await;
    node.shutdown().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_refuse_proposals_and_name_the_leader() {
    let cluster = Cluster::start(3).await;
    cluster.groups[0].elect().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let group = &cluster.groups[follower];
    until(group, "knows its leader", |status| status.leader.is_some()).await;
    let receiver = group.propose(data(0..1)).await.unwrap().remove(0);
    let error = within("a refusal", receiver).await.unwrap().unwrap_err();
    let lead = cluster.homes[leader].id;
    assert!(
        matches!(error, ProposeError::NotLeader { leader: Some(named), .. } if named == lead),
        "{error:?}"
    );
    assert!(matches!(group.read_barrier().await, Err(ProposeError::NotLeader { .. })));
    cluster.groups[leader].read_barrier().await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let cluster = Cluster::written(0..20).await;
    let (leader, to) = cluster.hand_over().await;
    let target = cluster.homes[to].id;
    until(&cluster.groups[to], "leads", |status| status.leader_ready).await;
    propose_all(&cluster.groups[to], 20..40).await;
    applied_everywhere(&cluster.homes, &bytes(0..40)).await;
    let stranger = cluster.groups[to].transfer_leader(NodeId(99)).await;
    assert!(matches!(stranger, Err(RaftError::NotPossible(_))), "{stranger:?}");
    let follower = cluster.groups[leader].transfer_leader(target).await;
    assert!(matches!(follower, Err(RaftError::NotPossible(_))), "{follower:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_proposals_of_a_task_keep_their_order() {
    let cluster = Cluster::start(3).await;
    cluster.groups[2].elect().await;
    let leader = cluster.leader().await;
    let group = &cluster.groups[leader];
    let mut receivers = Vec::new();
    for batch in 0..100 {
        receivers.extend(group.propose(data(batch * 20..batch * 20 + 20)).await.unwrap());
    }
    let mut replies = Vec::new();
    for receiver in receivers {
        replies.push(within("an answer", receiver).await.unwrap().unwrap().reply);
    }
    let expected: Vec<_> = (0..2_000).map(Reply::Position).collect();
    assert_eq!(replies, expected);
    applied_everywhere(&cluster.homes, &bytes(0..2_000)).await;
    cluster.stop().await;
}
