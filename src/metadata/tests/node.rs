//! A node of a metadata group for tests: real log and store in a folder, real peer sockets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jackdaw_raft::testing::MemHardState;
use jackdaw_raft::{ClusterId, NodeId, NodeOptions, RaftNode};

use crate::metadata::configs::ConfigMap;
use crate::metadata::{
    BrokerRegistration, KvPairs, Metadata, MetadataLog, MetadataOptions, TopicDefaults,
};
use crate::model::BrokerId;
use crate::storage::kv::Kv;
use crate::storage::{Storage, StorageOptions};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A storage whose fatal errors fail the test rather than the process.
pub(crate) fn fatal_to_panic() -> Storage {
    let fatal = Arc::new(|doing: &str, error: &std::io::Error| panic!("{doing}: {error}"));
    Storage::new(StorageOptions { fatal, ..StorageOptions::default() })
}

/// A running node.
pub(crate) struct TestNode {
    pub(crate) raft: RaftNode,
    pub(crate) metadata: Metadata,
    log: Arc<MetadataLog>,
}

/// Listeners on free ports for nodes 1 to `count`, and their addresses.
pub(crate) fn listeners(count: u64) -> (Vec<TcpListener>, BTreeMap<NodeId, String>) {
    let bound: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let peers = (1..).map(NodeId).zip(bound.iter().map(address)).collect();
    (bound, peers)
}

pub(crate) fn registration(id: i32, incarnation: u128) -> BrokerRegistration {
    BrokerRegistration {
        id: BrokerId(id),
        host: "127.0.0.1".into(),
        port: 9091 + u16::try_from(id).unwrap(),
        admin: None,
        rack: None,
        incarnation,
    }
}

impl TestNode {
    /// Opens node `id` of `peers` over `dir`.
    pub(crate) async fn start(
        id: u64,
        dir: &Path,
        listener: TcpListener,
        peers: &BTreeMap<NodeId, String>,
        hard: Arc<MemHardState>,
    ) -> Self {
        let cluster = ClusterId::new("test").unwrap();
        let mut options = NodeOptions::new(NodeId(id), cluster, peers.clone());
        // Leaders change where a test asks for it only.
        options.timing.settle_ms = 3_600_000;
        let raft = RaftNode::start(options, listener, hard).await.unwrap();
        let storage = fatal_to_panic();
        let kv = Kv::reopen(&dir.join("kv"), &storage);
        let log =
            Arc::new(MetadataLog::open(&dir.join("metadata"), "test", &storage, None).unwrap());
        let options = MetadataOptions {
            broker: BrokerId(id as i32),
            voters: peers.keys().map(|node| BrokerId(node.0 as i32)).collect(),
            defaults: TopicDefaults { partitions: 1, replication_factor: peers.len() as i16 },
            statics: ConfigMap::new(),
        };
        let pairs = Arc::new(KvPairs::open(&kv).unwrap());
        let metadata = Metadata::open(raft.clone(), log.clone(), pairs, options).await.unwrap();
        raft.serve_calls(Arc::new(metadata.clone()));
        Self { raft, metadata, log }
    }

    /// A node alone, registered.
    pub(crate) async fn alone(dir: &Path) -> Self {
        let (mut bound, peers) = listeners(1);
        let hard = Arc::new(MemHardState::default());
        let node = Self::start(1, dir, bound.remove(0), &peers, hard).await;
        node.metadata.register(&registration(1, 1)).await.unwrap();
        node
    }

    pub(crate) async fn stop(self) {
        self.raft.shutdown().await;
        self.log.close().unwrap();
    }
}
