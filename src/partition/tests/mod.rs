//! Partitions of several nodes in one process, over real files and sockets.

mod catching_up;
mod compacting;
mod crash;
mod deleting;
mod electing;
mod first_batches;
mod full;
mod random;
mod refilling;
mod relaxed;
mod restarting;
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jackdaw_raft::testing::MemHardState;
use jackdaw_raft::{
    ClusterId, GroupId, HardStateStore, LogId, NodeId, NodeOptions, RaftNode, Room, Timing,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::model::record_batch::{BatchHeader, CRC_START, tests::opaque_batch};
use crate::model::{Offset, PartitionIndex, TopicId, TopicPartition};
use crate::storage::{
    Disk, FlushPolicy, Log, LogIdentity, LogOptions, RetentionLimits, RollLimits, Storage,
    StorageOptions, SystemDisk, VerifyRange, verify_log_dir,
};

const TOPIC: TopicId = TopicId(7);
const GROUP: GroupId = GroupId { topic: 7, partition: 0 };
const SOON: Duration = Duration::from_secs(30);
/// The producer of [`idempotent`] batches.
const PRODUCER: i64 = 77;

/// One node: what survives its stops, and what runs in between.
struct Node {
    id: NodeId,
    dir: TempDir,
    hard: Arc<MemHardState>,
    flush: FlushPolicy,
    disk: Arc<dyn Disk>,
    peer_dead_ms: u64,
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Its disk has no room for replication.
    full: Arc<AtomicBool>,
    /// Records were refused for that.
    refused: Arc<AtomicBool>,
    partitions: Arc<PartitionSet>,
    running: Option<(RaftNode, Arc<Partition>)>,
}

struct Nodes(Vec<Node>);

fn identity() -> LogIdentity {
    LogIdentity { cluster_id: "test".into(), topic_id: TOPIC, partition: PartitionIndex(0) }
}

/// Segments of a few batches.
fn small() -> LogOptions {
    let roll = RollLimits { bytes: 2_000, ..RollLimits::default() };
    LogOptions {
        roll,
        index_interval_bytes: 200,
        preallocate_min_bytes: 1024,
        ..LogOptions::default()
    }
}

fn open_log(dir: &Path) -> Log {
    open_log_on(Arc::new(SystemDisk), dir)
}

fn open_log_on(disk: Arc<dyn Disk>, dir: &Path) -> Log {
    let storage = Storage::new(StorageOptions { disk, ..StorageOptions::default() });
    Log::open(dir, &identity(), small(), &storage, None).unwrap().0
}

impl Node {
    fn new(id: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            id: NodeId(id),
            dir: tempfile::tempdir().unwrap(),
            hard: Arc::default(),
            flush: FlushPolicy::Durable,
            disk: Arc::new(SystemDisk),
            peer_dead_ms: Timing::default().peer_dead_ms,
            address: listener.local_addr().unwrap(),
            listener: Some(listener),
            full: Arc::default(),
            refused: Arc::default(),
            partitions: Arc::default(),
            running: None,
        }
    }

    fn partition(&self) -> &Arc<Partition> {
        &self.running.as_ref().unwrap().1
    }

    async fn start(&mut self, peers: BTreeMap<NodeId, String>) {
        let voters: BTreeSet<NodeId> = peers.keys().copied().collect();
        let listener = self.listener.take();
        let listener = listener.unwrap_or_else(|| TcpListener::bind(self.address).unwrap());
        let mut options = NodeOptions::new(self.id, ClusterId::new("test").unwrap(), peers);
        options.room = Some(self.room());
        options.timing.peer_dead_ms = self.peer_dead_ms;
        let raft = RaftNode::start(options, listener, self.hard.clone()).await.unwrap();
        let log = open_log_on(Arc::clone(&self.disk), self.dir.path());
        log.set_flush_policy(self.flush);
        let committed = self.hard.load(GROUP).unwrap().committed;
        let rebuilt = Rebuilt::from_log(&log, committed).unwrap();
        let partition = Partition::open(OpenPartition {
            name: TopicPartition::new("t", PartitionIndex(0)),
            topic_id: TOPIC,
            group: GROUP,
            log,
            limits: RecordLimits {
                message_bytes_max: 1 << 20,
                segment_bytes_max: 1 << 20,
                timestamp_before_max_ms: i64::MAX,
                timestamp_after_max_ms: i64::MAX,
                log_append_time: false,
                compacted: false,
                codec: None,
            },
            retention: RetentionPolicy::default(),
            compaction: None,
            purges: mpsc::unbounded_channel().0,
            damaged: Arc::default(),
            rebuilt,
            node: &raft,
            voters: voters.clone(),
            preferred: None,
        });
        let partition = partition.await.unwrap();
        partition.group().initialize(voters).await.unwrap();
        self.partitions.insert(Arc::clone(&partition));
        self.running = Some((raft, partition));
    }

    fn room(&self) -> Room {
        let (full, refused) = (Arc::clone(&self.full), Arc::clone(&self.refused));
        let partitions = Arc::downgrade(&self.partitions);
        Room::new(move |incoming| {
            let fits = || partitions.upgrade().is_some_and(|all| fits_full_disk(&all, incoming));
            let has_room = !full.load(Ordering::Relaxed) || fits();
            refused.fetch_or(!has_room, Ordering::Relaxed);
            has_room
        })
    }

    /// Ends the node without a clean-shutdown marker.
    async fn stop(&mut self) {
        let (raft, partition) = self.running.take().unwrap();
        drop(self.partitions.remove(TOPIC, PartitionIndex(0)));
        raft.shutdown().await;
        // Of a process that ends no sync goes on, in a folder that may be gone by then.
        partition.log().quiesce();
    }

    /// Hash and range of the records that are served here.
    fn records(&self, start: Offset, end: Offset) -> (u64, u128) {
        let range = VerifyRange { from: Some(start), upto: Some(end), upto_index: None };
        let report = verify_log_dir(self.dir.path(), range).unwrap();
        assert_eq!(report.problems, []);
        (report.hashed_records, report.hash)
    }
}

impl Nodes {
    async fn start(count: u64) -> Self {
        Self::start_with(count, FlushPolicy::Durable).await
    }

    async fn start_with(count: u64, flush: FlushPolicy) -> Self {
        Self::start_on(count, flush, Arc::new(SystemDisk)).await
    }

    async fn start_on(count: u64, flush: FlushPolicy, disk: Arc<dyn Disk>) -> Self {
        let mut nodes = Self((1..=count).map(Node::new).collect());
        for node in &mut nodes.0 {
            (node.flush, node.disk) = (flush, Arc::clone(&disk));
        }
        for at in 0..nodes.0.len() {
            nodes.restart(at).await;
        }
        nodes.0[0].partition().group().elect().await;
        nodes
    }

    async fn restart(&mut self, at: usize) {
        let address = |node: &Node| (node.id, node.address.to_string());
        let peers = self.0.iter().map(address).collect();
        self.0[at].start(peers).await;
    }

    /// The node whose partition may serve; asks for an election where none does.
    async fn leader(&self) -> usize {
        for round in 0.. {
            let running = self.0.iter().enumerate().filter(|(_, node)| node.running.is_some());
            for (at, node) in running.clone() {
                if node.partition().check_leader(-1).is_ok() {
                    return at;
                }
            }
            assert!(round < 600, "no leader");
            if round % 20 == 19 {
                for (_, node) in running {
                    node.partition().group().elect().await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!("the loop ends by itself")
    }

    async fn stop(&mut self) {
        for node in self.0.iter_mut().filter(|node| node.running.is_some()) {
            node.stop().await;
        }
    }
}

async fn until(what: &str, met: impl Fn() -> bool) {
    let waited = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, waited).await.is_ok(), "not within {SOON:?}: {what}");
}

/// A batch of one record, the producer's `sequence`-th.
fn idempotent(sequence: i32) -> Bytes {
    let mut bytes = opaque_batch(1, &[5; 200]).to_vec();
    bytes[43..51].copy_from_slice(&PRODUCER.to_be_bytes());
    bytes[51..53].copy_from_slice(&0_i16.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

async fn produce(partition: &Partition, batch: Bytes) -> Result<Offset, PartitionError> {
    let header = BatchHeader::parse(&batch).unwrap();
    partition.append(batch, header, Acks::All).wait().await
}

async fn produce_all(partition: &Partition, sequences: std::ops::Range<i32>) {
    for sequence in sequences {
        produce(partition, idempotent(sequence)).await.unwrap();
    }
}

/// Copies a log's folder.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // A purged file may be on its way out.
        drop(std::fs::copy(entry.path(), to.join(entry.file_name())));
    }
}

fn keep_bytes(bytes: u64) -> RetentionPolicy {
    let limits = RetentionLimits { ms: None, bytes: Some(bytes) };
    RetentionPolicy { delete: true, limits }
}
