//! Tests of the hard states over a data folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jackdaw_raft::NodeId;

use super::*;
use crate::metadata::record::NewTopic;
use crate::metadata::{Command, PairStore as _, State};
use crate::model::{BrokerId, PartitionIndex, TopicId, TopicPartition};
use crate::storage::kv::Batch;
use crate::storage::{Log, LogIdentity, LogOptions};

const GROUP: GroupId = GroupId { topic: 7, partition: 3 };
const VOTED: Vote = Vote { term: 4, node: NodeId(2), committed: true };

struct Node {
    states: Arc<HardStates>,
    data_dir: DataDir,
    kv: Kv,
}

fn open(path: &Path) -> Node {
    open_after(path, |_| {})
}

/// Opens a data folder whose key-value store `before` has changed.
fn open_after(path: &Path, before: impl FnOnce(&Kv)) -> Node {
    let storage = Storage::default();
    let data_dir = DataDir::open(path, "c1", BrokerId(1)).unwrap();
    let kv = Kv::reopen(&data_dir.kv_dir(), &storage);
    before(&kv);
    let states = HardStates::open(&data_dir, &storage, &kv).unwrap();
    Node { states, data_dir, kv }
}

/// Gives the folder a log of [`GROUP`].
fn make_log(node: &Node) {
    let partition = TopicPartition::new("orders", PartitionIndex(3));
    let identity = LogIdentity {
        cluster_id: "c1".to_owned(),
        topic_id: TopicId(7),
        partition: PartitionIndex(3),
    };
    let folder = node.data_dir.partition_dir(&partition);
    Log::open(&folder, &identity, LogOptions::default(), &Storage::default(), None).unwrap();
}

#[tokio::test]
async fn votes_and_commit_positions_survive_until_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let committed = LogId { term: 3, index: 99 };
    for is_clean in [false, true] {
        let node = open(dir.path());
        assert_eq!(node.states.load(GROUP).unwrap(), HardState::default());
        node.states.save_committed(GROUP, Some(committed));
        node.states.checkpoint(&all).unwrap();
        node.states.save_vote(GROUP, VOTED).await.unwrap();
        if is_clean {
            node.states.close(&all).unwrap();
        }
        drop(node);

        let states = open(dir.path()).states;
        let expected =
            HardState { vote: Some(VOTED), committed: Some(committed), ..HardState::default() };
        assert_eq!(states.load(GROUP).unwrap(), expected);
        states.save_refilling(GROUP, true).await.unwrap();
        let lost = HardState { committed: None, refilling: true, ..expected };
        assert_eq!(states.load(GROUP).unwrap(), lost);
        states.save_refilling(GROUP, false).await.unwrap();
        states.save_unproven(GROUP, true).await.unwrap();
        let unproven = HardState { refilling: false, unproven: true, ..lost };
        assert_eq!(states.load(GROUP).unwrap(), unproven);
        states.save_unproven(GROUP, false).await.unwrap();
        assert!(!states.load(GROUP).unwrap().unproven);
        states.forget(GROUP).await.unwrap();
        assert_eq!(states.load(GROUP).unwrap(), HardState::default());
    }
}

/// Everything is on the disk.
fn all(_: GroupId, committed: LogId) -> Option<LogId> {
    Some(committed)
}

#[tokio::test]
async fn what_is_remembered_as_committed_was_on_this_disk() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let at = |index| LogId { term: 3, index };
    let remembered = |states: &HardStates| states.durable_index(GROUP).unwrap();
    node.states.save_committed(GROUP, Some(at(99)));
    node.states.checkpoint(&|_, _| None).unwrap();
    assert_eq!(remembered(&node.states), None, "nobody knows the log");
    node.states.save_committed(GROUP, Some(at(100)));
    node.states.checkpoint(&|_, _| Some(LogId { term: 3, index: 40 })).unwrap();
    assert_eq!(remembered(&node.states), Some(40));
    assert_eq!(node.states.load(GROUP).unwrap().committed, Some(at(40)));
    drop(node);

    let node = open(dir.path());
    assert_eq!(remembered(&node.states), Some(40));
    node.states.save_committed(GROUP, Some(at(101)));
    node.states.forget_position(GROUP).unwrap();
    node.states.checkpoint(&all).unwrap();
    drop(node);
    let node = open(dir.path());
    assert_eq!(node.states.load(GROUP).unwrap(), HardState::default(), "also what was not written");

    node.states.save_committed(GROUP, Some(at(7)));
    node.states.checkpoint(&all).unwrap();
    node.states.save_refilling(GROUP, true).await.unwrap();
    assert_eq!(remembered(&node.states), None);
    // As older versions wrote it.
    let old = StableValue::new(&encode(at(9))[..16]);
    node.states.store.apply([(key(GROUP, COMMITTED), Some(old))]);
    assert_eq!(node.states.load(GROUP).unwrap().committed, Some(at(9)));
    assert_eq!(remembered(&node.states), None);
}

#[tokio::test]
async fn without_the_votes_every_group_with_a_log_is_unproven() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    make_log(&node);
    node.states.save_vote(GROUP, VOTED).await.unwrap();
    let votes = node.data_dir.votes_dir();
    drop(node);
    fs::remove_dir_all(&votes).unwrap();

    let node = open(dir.path());
    let unproven = HardState { unproven: true, ..HardState::default() };
    assert_eq!(node.states.load(GROUP).unwrap(), unproven);
    let other = GroupId { topic: 8, partition: 0 };
    assert_eq!(node.states.load(other).unwrap(), HardState::default(), "made later");
    drop(node);
    assert_eq!(open(dir.path()).states.load(GROUP).unwrap(), unproven, "it is remembered");
}

#[tokio::test]
async fn without_the_votes_a_group_that_the_metadata_knows_is_unproven_without_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let of = |topic, partition| GroupId { topic, partition };
    let node = open(dir.path());
    let mut state = State::new();
    for (name, id, partitions) in
        [("orders", 7, &[&[1][..], &[2, 1], &[2]][..]), ("others", 8, &[&[2, 3]])]
    {
        let brokers = |ids: &&[i32]| ids.iter().copied().map(BrokerId).collect();
        let partitions = partitions.iter().map(brokers).collect();
        let (name, id, configs) = (name.to_owned(), TopicId(id), BTreeMap::new());
        state.apply(Command::CreateTopic(NewTopic { name, id, partitions, configs }));
    }
    KvPairs::open(&node.kv).unwrap().write(state.take_changes()).unwrap();
    drop(node);
    let node = open(dir.path());
    for group in [of(7, 0), of(7, 1), of(7, 2), of(8, 0)] {
        assert_eq!(node.states.load(group).unwrap(), HardState::default(), "the votes are there");
    }
    let votes = node.data_dir.votes_dir();
    drop(node);
    fs::remove_dir_all(&votes).unwrap();

    let node = open(dir.path());
    for (group, unproven) in
        [(of(7, 0), true), (of(7, 1), true), (of(7, 2), false), (of(8, 0), false)]
    {
        assert_eq!(
            node.states.load(group).unwrap(),
            HardState { unproven, ..HardState::default() }
        );
    }
}

#[tokio::test]
async fn votes_of_an_older_version_are_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = open_after(dir.path(), |kv| {
        let tree = kv.tree(OLD_TREE).unwrap();
        let mut batch = Batch::new();
        let mut key = GROUP.to_bytes().to_vec();
        key.push(VOTE);
        batch.put(&key, &VOTED.to_bytes());
        tree.apply(batch).unwrap();
    });
    make_log(&node);
    assert_eq!(node.states.load(GROUP).unwrap().vote, Some(VOTED));
    assert!(node.kv.old_tree(OLD_TREE).unwrap().is_none());
    let newer = Vote { term: 5, ..VOTED };
    node.states.save_vote(GROUP, newer).await.unwrap();
    drop(node);
    let state = open(dir.path()).states.load(GROUP).unwrap();
    assert_eq!((state.vote, state.unproven), (Some(newer), false));
}
