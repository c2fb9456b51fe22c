//! Damaged and deleted logs: set aside, got back from the other nodes, and nothing is lost.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jackdaw::storage::Recovered;
use jackdaw_chaos::cluster::{self, Cluster};
use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use super::retention::run;
use super::support::{PATIENCE, Record, consumer, options, poll_until, read, records, send_all};

const TOPIC: &str = "hurt";
const PARTITION: &str = "hurt-0";
const POLL: Duration = Duration::from_millis(20);

/// Records of which three segments of 1 MiB are full.
fn many() -> Vec<Record> {
    (0..400).map(|n| Record::new(n.to_string(), vec![n as u8; 10_000])).collect()
}

fn create(cluster: &Cluster, replicas: &str) {
    let create = ["topic", "create", TOPIC, "--partitions", "1", "--replication-factor", replicas];
    run(cluster, &[&create[..], &["--config", "segment.bytes=1048576"]].concat());
    cluster.wait_led(TOPIC, PATIENCE).unwrap();
}

fn folder(cluster: &Cluster, node: i32) -> PathBuf {
    cluster.node(node).data_dir().join("partitions").join(PARTITION)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    files.sort();
    files
}

/// How much of a file is written.
fn written(file: &Path) -> usize {
    fs::read(file).unwrap().iter().rposition(|byte| *byte != 0).unwrap()
}

/// Changes one byte, so far before the end of what is written in the file.
fn flip(file: &Path, before_end: usize) {
    let bytes = fs::read(file).unwrap();
    let at = written(file) - before_end;
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
}

fn set_aside(cluster: &Cluster, node: i32) -> Vec<String> {
    let entries = fs::read_dir(cluster.node(node).data_dir().join("set-aside")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn get(cluster: &Cluster, node: i32, path: &str) -> String {
    cluster::get(cluster.node(node).ports.admin, path, PATIENCE).unwrap().body
}

fn quarantined(cluster: &Cluster, node: i32) -> Vec<Value> {
    let view: Value = serde_json::from_str(&get(cluster, node, "/api/v1/cluster")).unwrap();
    view["quarantined"].as_array().unwrap().clone()
}

/// Waits until all is as it should be, and compares everything.
fn settles_with(mut cluster: Cluster, sent: &[Record]) {
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_caught_up(TOPIC, PATIENCE).unwrap();
    for node in 1..=3 {
        assert_eq!(quarantined(&cluster, node), [] as [Value; 0]);
        assert!(get(&cluster, node, "/metrics").contains("jackdaw_quarantined_replicas 0"));
    }
    let got = read(&cluster.bootstrap(), TOPIC, 0, &[]);
    assert!(got.iter().map(|(offset, _)| *offset).eq(0..sent.len() as i64));
    assert!(got.iter().map(|(_, record)| record).eq(sent), "other records than were sent");
    cluster.stop_and_compare(TOPIC).unwrap();
}

#[test]
fn damage_found_at_the_start_is_repaired() {
    let mut cluster = Cluster::start(&options(3), PATIENCE).unwrap();
    create(&cluster, "3");
    let sent = many();
    // A record per batch: then the last segment has many of them.
    send_all(&cluster.bootstrap(), TOPIC, 0, &sent[..390], &[("batch.num.messages", "1")]);
    let node = cluster.wait_led(TOPIC, PATIENCE).unwrap()[0].leader.unwrap();
    cluster.node_mut(node).kill().unwrap();
    let files = segments(&folder(&cluster, node));
    assert!(files.len() > 3, "{files:?}");
    flip(&files[1], 200_000);
    // Sound entries follow it: no unfinished write looks so.
    flip(files.last().unwrap(), 45_000);
    cluster.wait_led(TOPIC, PATIENCE).unwrap();
    send_all(&cluster.bootstrap(), TOPIC, 0, &sent[390..], &[]);
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert_eq!(set_aside(&cluster, node), [PARTITION]);
    settles_with(cluster, &sent);
}

/// A cluster with many records, and which node led them: it was stopped.
fn written_and_stopped() -> (Cluster, Vec<Record>, i32) {
    let mut cluster = Cluster::start(&options(3), PATIENCE).unwrap();
    create(&cluster, "3");
    let sent = many();
    send_all(&cluster.bootstrap(), TOPIC, 0, &sent, &[]);
    let node = cluster.wait_led(TOPIC, PATIENCE).unwrap()[0].leader.unwrap();
    stop(&mut cluster, node);
    (cluster, sent, node)
}

/// A file that exists and cannot be read: the system says EIO of this one's beginning.
const UNREADABLE: &str = "/proc/self/mem";

#[test]
fn a_segment_that_cannot_be_read_is_repaired_as_damage_is() {
    let (mut cluster, sent, node) = written_and_stopped();
    let file = segments(&folder(&cluster, node)).remove(1);
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(UNREADABLE, &file).unwrap();
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert_eq!(set_aside(&cluster, node), [PARTITION]);
    settles_with(cluster, &sent);
}

/// Kills leaders until `done`; the nodes come back at once.
fn elect_until(cluster: &mut Cluster, done: impl Fn(&Cluster, i32) -> bool) {
    let begin = Instant::now();
    loop {
        cluster.wait_ready(PATIENCE).unwrap();
        cluster.wait_caught_up(TOPIC, PATIENCE).unwrap();
        let leader = cluster.wait_led(TOPIC, PATIENCE).unwrap()[0].leader.unwrap();
        if done(cluster, leader) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "not done after many elections");
        cluster.node_mut(leader).kill().unwrap();
        cluster.node_mut(leader).start().unwrap();
    }
}

/// Stops a node in order, so that its next start need not read much of its log.
fn stop(cluster: &mut Cluster, node: i32) {
    cluster.node_mut(node).terminate(PATIENCE).unwrap();
}

#[test]
fn damage_found_by_a_reader_is_repaired_once_another_node_leads() {
    // What a process wrote itself it does not check.
    let (mut cluster, sent, node) = written_and_stopped();
    cluster.node_mut(node).start().unwrap();
    elect_until(&mut cluster, |_, leader| leader == node);
    flip(&segments(&folder(&cluster, node))[1], 500_000);

    let reader = consumer(&cluster.bootstrap(), "readers", &[]);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    reader.assign(&assignment).unwrap();
    let got = poll_until(&reader, |read| read.len() == sent.len());
    assert!(got.iter().map(|(_, record)| record).eq(&sent));
    let begin = Instant::now();
    while set_aside(&cluster, node).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", quarantined(&cluster, node));
        std::thread::sleep(POLL);
    }
    settles_with(cluster, &sent);
}

#[test]
fn damage_found_by_a_new_leader_is_repaired() {
    let (mut cluster, sent, node) = written_and_stopped();
    // Damage all over the second segment: a new leader reads somewhere in the middle of its log.
    let file = &segments(&folder(&cluster, node))[1];
    (1..50).for_each(|part| flip(file, part * written(file) / 50));
    cluster.node_mut(node).start().unwrap();
    elect_until(&mut cluster, |cluster, _| set_aside(cluster, node) == [PARTITION]);
    settles_with(cluster, &sent);
}

#[test]
fn deleted_folders_come_back() {
    let mut cluster = Cluster::start(&options(3), PATIENCE).unwrap();
    create(&cluster, "3");
    let sent = many();
    send_all(&cluster.bootstrap(), TOPIC, 0, &sent, &[]);
    let node = cluster.view().unwrap().metadata.leader.unwrap();
    cluster.node_mut(node).kill().unwrap();
    fs::remove_dir_all(folder(&cluster, node)).unwrap();
    // The metadata's log as well, damaged.
    let metadata = cluster.node(node).data_dir().join("metadata");
    let file = segments(&metadata).remove(0);
    flip(&file, written(&file) / 2);
    cluster.wait_led(TOPIC, PATIENCE).unwrap();
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert_eq!(set_aside(&cluster, node), ["metadata"]);
    let log = fs::read_to_string(cluster.node(node).log_path()).unwrap();
    assert_eq!(log.matches("this replica votes").count(), 2, "two replicas were refilled");
    settles_with(cluster, &sent);
}

#[test]
fn a_node_with_an_empty_folder_gets_everything_back_from_idle_leaders() {
    let mut cluster = Cluster::start(&options(3), PATIENCE).unwrap();
    create(&cluster, "3");
    let sent = many();
    send_all(&cluster.bootstrap(), TOPIC, 0, &sent, &[]);
    cluster.wait_caught_up(TOPIC, PATIENCE).unwrap();
    // One that leads neither: its place is taken by nobody, and nothing is written meanwhile.
    let leaders = [
        cluster.wait_led(TOPIC, PATIENCE).unwrap()[0].leader,
        cluster.view().unwrap().metadata.leader,
    ];
    let node = (1..=3).find(|node| !leaders.contains(&Some(*node))).unwrap();
    cluster.node_mut(node).kill().unwrap();
    fs::remove_dir_all(cluster.node(node).data_dir()).unwrap();
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_caught_up(TOPIC, PATIENCE).unwrap();
    settles_with(cluster, &sent);
}

/// Up to which entry a node remembers, beside its votes, that the partition's log was on its disk.
fn remembered(cluster: &Cluster, node: i32) -> Option<u64> {
    let votes = Recovered::read(&cluster.node(node).data_dir().join("votes")).unwrap();
    let of_partition = |owner: &[u8; 20]| owner.iter().any(|byte| *byte != 0);
    let positions = votes.values().iter().filter(|(k, _)| k.kind == b'c' && of_partition(&k.owner));
    let indexes =
        positions.map(|(_, value)| u64::from_be_bytes(value.as_bytes()[8..16].try_into().unwrap()));
    indexes.max()
}

/// Sends records, one a batch, to a partition of one entry per record behind two others, and kills its leader
/// before the recovery point covers them all. Then its log is cut at the recovery point. How many records
/// were sent.
fn lose_what_no_recovery_point_covers(cluster: &mut Cluster) -> (i32, Vec<Record>) {
    let mut sent = Vec::new();
    loop {
        sent.extend(records(10));
        let some = &sent[sent.len() - 10..];
        send_all(&cluster.bootstrap(), TOPIC, 0, some, &[("batch.num.messages", "1")]);
        let leader = cluster.wait_led(TOPIC, PATIENCE).unwrap()[0].leader.unwrap();
        let begin = Instant::now();
        while remembered(cluster, leader).is_none_or(|index| index <= sent.len() as u64) {
            assert!(begin.elapsed() < PATIENCE, "{:?}", remembered(cluster, leader));
            std::thread::sleep(POLL);
        }
        cluster.node_mut(leader).kill().unwrap();
        let folder = folder(cluster, leader);
        let point = fs::read(folder.join("checkpoint")).unwrap();
        let point = u64::from_be_bytes(point[16..24].try_into().unwrap());
        let file = segments(&folder).pop().unwrap();
        if point < written(&file) as u64 {
            OpenOptions::new().write(true).open(file).unwrap().set_len(point).unwrap();
            return (leader, sent);
        }
        // An idle log's is written within seconds: this was too slow.
        cluster.node_mut(leader).start().unwrap();
        cluster.wait_ready(PATIENCE).unwrap();
    }
}

#[test]
fn what_is_lost_behind_the_recovery_point_comes_back() {
    let mut cluster = Cluster::start(&options(3), PATIENCE).unwrap();
    create(&cluster, "3");
    let (node, sent) = lose_what_no_recovery_point_covers(&mut cluster);
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert_eq!(set_aside(&cluster, node), [PARTITION]);
    settles_with(cluster, &sent);
}

/// Waits until the only node says that it is not ready for this reason.
fn wait_unready(cluster: &Cluster, wanted: &str) {
    let begin = Instant::now();
    loop {
        let ready = cluster::get(cluster.node(1).ports.admin, "/health/ready", PATIENCE);
        let text = ready.map_or_else(|error| error.to_string(), |answer| answer.body);
        if text.contains(wanted) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{wanted} is not said: {text}");
        std::thread::sleep(POLL);
    }
}

#[test]
fn the_only_replica_goes_on_without_what_it_lost_when_it_is_told_to() {
    let mut cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    create(&cluster, "1");
    let (_, sent) = lose_what_no_recovery_point_covers(&mut cluster);
    let word = folder(&cluster, 1).join("accept-loss");
    for _ in 0..2 {
        cluster.node_mut(1).start().unwrap();
        wait_unready(&cluster, "hurt-0/accept-loss and start the node again");
        assert_eq!(quarantined(&cluster, 1)[0]["state"], "out");
        cluster.node_mut(1).kill().unwrap();
    }
    fs::write(&word, []).unwrap();
    cluster.node_mut(1).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_led(TOPIC, PATIENCE).unwrap();
    assert!(!word.exists());
    let left = read(&cluster.bootstrap(), TOPIC, 0, &[]);
    assert!(left.len() < sent.len(), "nothing was lost");
    assert!(left.iter().map(|(_, record)| record).eq(&sent[..left.len()]));
    send_all(&cluster.bootstrap(), TOPIC, 0, &sent[left.len()..], &[]);
    cluster.node_mut(1).kill().unwrap();
    cluster.node_mut(1).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    let all = read(&cluster.bootstrap(), TOPIC, 0, &[]);
    assert!(all.iter().map(|(_, record)| record).eq(&sent));
}

#[test]
fn the_only_replica_that_a_read_finds_damaged_is_not_ready() {
    let mut cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    create(&cluster, "1");
    send_all(&cluster.bootstrap(), TOPIC, 0, &many(), &[]);
    // What a process wrote itself it does not check.
    stop(&mut cluster, 1);
    cluster.node_mut(1).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    flip(&segments(&folder(&cluster, 1))[1], 500_000);
    let reader = consumer(&cluster.bootstrap(), "readers", &[]);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    reader.assign(&assignment).unwrap();
    let begin = Instant::now();
    while quarantined(&cluster, 1).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "no read has come upon it");
        drop(reader.poll(POLL));
    }
    assert_eq!(quarantined(&cluster, 1)[0]["state"], "damaged");
    wait_unready(&cluster, PARTITION);
}

#[test]
fn the_only_replica_whose_log_and_votes_are_gone_does_not_begin_anew() {
    let mut cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    create(&cluster, "1");
    send_all(&cluster.bootstrap(), TOPIC, 0, &records(10), &[]);
    // In order: what the node knows of its topics is on the disk then.
    stop(&mut cluster, 1);
    let votes = cluster.node(1).data_dir().join("votes");
    for gone in [folder(&cluster, 1), votes] {
        fs::remove_dir_all(gone).unwrap();
    }
    for _ in 0..2 {
        cluster.node_mut(1).start().unwrap();
        wait_unready(&cluster, "the log of the only replica is gone");
        stop(&mut cluster, 1);
    }
}

#[test]
fn the_only_replica_stays_where_it_is_and_says_so() {
    let mut cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    create(&cluster, "1");
    let sent = records(500);
    for piece in sent.chunks(100) {
        send_all(&cluster.bootstrap(), TOPIC, 0, piece, &[]);
    }
    let folder = folder(&cluster, 1);
    let reasons = |cluster: &mut Cluster, wanted: &str| {
        cluster.node_mut(1).start().unwrap();
        wait_unready(cluster, wanted);
        assert_eq!(quarantined(cluster, 1)[0]["state"], "out");
        cluster.node_mut(1).kill().unwrap();
    };
    cluster.node_mut(1).kill().unwrap();
    let file = segments(&folder).pop().unwrap();
    let sound = fs::read(&file).unwrap();
    flip(&file, 4_000);
    reasons(&mut cluster, "it is the only replica");
    assert_eq!(set_aside(&cluster, 1), [] as [String; 0]);

    fs::write(&file, sound).unwrap();
    let copy = cluster.folder().join("copy");
    fs::rename(&folder, &copy).unwrap();
    reasons(&mut cluster, "the log of the only replica is gone");
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&copy, &folder).unwrap();
    let metadata = cluster.node(1).data_dir().join("metadata");
    fs::rename(&metadata, &copy).unwrap();
    cluster.node_mut(1).start().unwrap();
    let begin = Instant::now();
    while !cluster.node(1).log_tail().contains("the metadata log in") {
        assert!(begin.elapsed() < PATIENCE, "it runs without its metadata");
        std::thread::sleep(POLL);
    }
    cluster.node_mut(1).kill().unwrap();
    fs::remove_dir_all(&metadata).unwrap();
    fs::rename(&copy, &metadata).unwrap();
    cluster.node_mut(1).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert_eq!(read(&cluster.bootstrap(), TOPIC, 0, &[]).len(), 500);
}
