//! Two nodes that do not hear one another, and a third that hears both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;

use jackdaw_raft::testing::{MemLog, MemMachine};
use jackdaw_raft::{Group, NodeId};
use tempfile::TempDir;

use super::node::{LONG, TestNode, listeners, registration};
use crate::metadata::{CreateTopic, Hearsay, partition_group};
use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

/// Nodes 1 to 3. What 1 and 2 send one another arrives nowhere.
struct Cut {
    nodes: Vec<TestNode>,
    /// Takes connections, and never answers.
    _nobody: TcpListener,
    _dirs: Vec<TempDir>,
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("too late: {what}"))
}

async fn start() -> Cut {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let (bound, peers) = listeners(3);
    let dirs: Vec<_> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut nodes = Vec::new();
    for ((id, listener), dir) in (1..).zip(bound).zip(&dirs) {
        let mut peers: BTreeMap<NodeId, String> = peers.clone();
        if id < 3 {
            let other = NodeId(3 - id);
            peers.insert(other, nobody.local_addr().unwrap().to_string());
        }
        nodes.push(TestNode::start(id, dir.path(), listener, &peers, Arc::default()).await);
    }
    Cut { nodes, _nobody: nobody, _dirs: dirs }
}

impl Cut {
    /// Sees to it that node 1 leads the group of each node's handle in `groups`.
    async fn led_by_1(&self, groups: &[Group]) {
        let is_1 = |group: &Group| group.status().borrow().is_leader;
        while !is_1(&groups[0]) {
            // Node 2 can hand over to node 3 only. Whoever does not lead refuses.
            let _ = groups[1].transfer_leader(NodeId(3)).await;
            let _ = groups[2].transfer_leader(NodeId(1)).await;
            tokio::task::yield_now().await;
        }
    }

    async fn open(&self, topic: TopicId) -> Vec<Group> {
        let mut groups = Vec::new();
        for node in &self.nodes {
            let (log, machine) = (Arc::<MemLog>::default(), Arc::<MemMachine>::default());
            let id = partition_group(topic, PartitionIndex(0));
            let group = node.raft.open_group(id, log, machine, Some(NodeId(3))).await.unwrap();
            group.initialize([1, 2, 3].map(NodeId).into()).await.unwrap();
            groups.push(group);
        }
        groups
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_learns_of_those_it_does_not_hear_from_one_that_does() {
    let cut = start().await;
    let metadata: Vec<_> = cut.nodes.iter().map(|node| node.metadata.clone()).collect();
    let handles: Vec<_> = metadata.iter().map(|metadata| metadata.group().clone()).collect();
    within("node 1 leads the metadata", cut.led_by_1(&handles)).await;
    within("node 1 registers", metadata[0].register(&registration(1, 1))).await.unwrap();
    let wanted = CreateTopic { name: "t".into(), partitions: 1, ..CreateTopic::default() };
    let wanted = CreateTopic { replication_factor: 1, ..wanted };
    let created = metadata[0].create_topics(vec![wanted], false, LONG).await.unwrap().remove(0);
    let topic = created.unwrap().id;
    let groups = cut.open(topic).await;
    within("node 1 leads the partition", cut.led_by_1(&groups)).await;

    let expected = Hearsay { there: BTreeSet::from([BrokerId(1)]), controller: Some(BrokerId(1)) };
    let told = within("node 2 is told", async {
        loop {
            let told = metadata[1].hear().await;
            if told == expected {
                return told;
            }
            tokio::task::yield_now().await;
        }
    });
    told.await;
    assert!(!metadata[1].is_alive(BrokerId(1)), "it is not heard itself");
    let place = (topic, PartitionIndex(0));
    let epoch = LeaderEpoch(groups[0].status().borrow().term as i32);
    let leaders = within("node 2 is told who leads", async {
        loop {
            // An answer that is late counts for none.
            let leaders = metadata[1].ask_leaders(vec![place]).await;
            if !leaders.is_empty() {
                return leaders;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(leaders.await, BTreeMap::from([(place, (BrokerId(1), epoch))]));
    assert_eq!(metadata[2].hear().await, Hearsay::default(), "it hears all");
    // Through node 3: what is asked of the leader needs no word of it here.
    assert_eq!(metadata[1].allocate_producer_ids(LONG).await.unwrap(), 0..1000);
    assert_eq!(metadata[0].allocate_producer_ids(LONG).await.unwrap(), 1000..2000);

    let mut nodes = cut.nodes;
    nodes.remove(0).stop().await;
    let gone = within("nobody hears node 1", async {
        while metadata[1].hear().await != Hearsay::default() {
            tokio::task::yield_now().await;
        }
    });
    gone.await;
    for node in nodes {
        node.stop().await;
    }
}
