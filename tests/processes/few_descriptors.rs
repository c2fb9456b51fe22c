//! A broker that may have few files open serves many segments, and many clients do not stop it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jackdaw_chaos::cluster::Cluster;
use jackdaw_chaos::workload::client_config;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::retention::run;
use super::support::{
    PATIENCE, Record, binary, consumer, options, poll_until, read, send_all, watermarks,
};

pub(crate) const LIMIT: u64 = 128;
/// What of it goes to segments: see `src/broker/descriptors.rs`.
const SEGMENTS: usize = 22;
const PARTITIONS: i32 = 4;
const RECORDS: usize = 100;
/// Each record begins a segment: it is so much newer than the one before.
const APART_MS: i64 = 1_000;
const ONE_BY_ONE: [(&str, &str); 1] = [("batch.num.messages", "1")];

fn record(partition: i32, n: usize) -> Record {
    Record::new(format!("{partition} {n}"), vec![n as u8; 1_000])
}

/// Records with their times, the last of which is now.
fn to_send(partition: i32) -> Vec<Record> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let time = |n: usize| Some(now - (RECORDS - n) as i64 * APART_MS);
    (0..RECORDS).map(|n| Record { timestamp: time(n), ..record(partition, n) }).collect()
}

fn is_all(partition: i32, read: impl IntoIterator<Item = (i64, Record)>) -> bool {
    read.into_iter().map(|(_, read)| read).eq((0..RECORDS).map(|n| record(partition, n)))
}

/// A script that starts the binary with a low limit, under the binary's process id.
fn limited(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("jackdaw-limited");
    let script = format!("#!/bin/sh\nulimit -n {LIMIT}\nexec '{}' \"$@\"\n", binary().display());
    // Not written from here: what another test starts meanwhile would hold it open for a moment, and a
    // file that is open for writing cannot be executed.
    let write = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let written = Command::new("sh").args(["-c", write]).arg(&path).arg(script).status();
    assert!(written.unwrap().success());
    path
}

/// A cluster of one node with a low limit, and the folder that its script is in.
pub(crate) fn limited_node() -> (tempfile::TempDir, Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(1);
    options.binary = limited(&folder);
    let cluster = Cluster::start(&options, PATIENCE).unwrap();
    (folder, cluster)
}

/// The files that the node has open: all, and those of segments.
pub(crate) fn open_files(cluster: &Cluster) -> (usize, usize) {
    let folder = format!("/proc/{}/fd", cluster.node(1).pid().unwrap());
    let links = fs::read_dir(folder).unwrap().filter_map(|link| link.ok()?.path().read_link().ok());
    let links: Vec<PathBuf> = links.collect();
    let of_segments = links.iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
    (links.len(), of_segments.count())
}

fn segments_of(cluster: &Cluster) -> Vec<PathBuf> {
    let partitions = fs::read_dir(cluster.node(1).data_dir().join("partitions")).unwrap();
    let files = partitions.flat_map(|partition| fs::read_dir(partition.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

pub(crate) fn limit_to(cluster: &Cluster, current: u64) {
    let pid = Pid::from_raw(cluster.node(1).pid().unwrap().cast_signed());
    let limit = Rlimit { current: Some(current), maximum: Some(LIMIT) };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

/// Leaves the node no descriptor: connections that nobody counts take them.
fn take_the_rest(cluster: &Cluster) -> Vec<TcpStream> {
    let is_left = || next_descriptor(cluster) < LIMIT as usize;
    let (begin, mut others) = (Instant::now(), Vec::new());
    while is_left() {
        assert!(begin.elapsed() < PATIENCE, "{} connections", others.len());
        let mut other = TcpStream::connect(cluster.node(1).ports.admin).unwrap();
        other.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        other.write_all(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
        // One that is answered has its descriptor; where it is not, something else took the last.
        while other.read(&mut [0]).is_err() && is_left() {
            assert!(begin.elapsed() < PATIENCE, "{} connections", others.len());
        }
        others.push(other);
    }
    others
}

/// The number that the node's next one gets: the lowest that none has.
fn next_descriptor(cluster: &Cluster) -> usize {
    let folder = format!("/proc/{}/fd", cluster.node(1).pid().unwrap());
    let names = fs::read_dir(folder).unwrap().map(|link| link.unwrap().file_name());
    let numbers: BTreeSet<usize> =
        names.map(|name| name.to_str().unwrap().parse().unwrap()).collect();
    (0..).find(|number| !numbers.contains(number)).unwrap()
}

/// Consumers that are connected.
fn consumers(cluster: &Cluster) -> Vec<BaseConsumer> {
    let connected = |reader| {
        let consumer = consumer(&cluster.bootstrap(), "readers", &[]);
        watermarks(&consumer, "long", reader % PARTITIONS);
        consumer
    };
    (0..2 * PARTITIONS).map(connected).collect()
}

/// All of them read a partition at a time.
fn read_everything(consumers: &[BaseConsumer]) {
    std::thread::scope(|scope| {
        for (partition, consumer) in (0..PARTITIONS).cycle().zip(consumers) {
            scope.spawn(move || {
                let mut assignment = TopicPartitionList::new();
                assignment.add_partition_offset("long", partition, Offset::Beginning).unwrap();
                consumer.assign(&assignment).unwrap();
                let got = poll_until(consumer, |got| got.len() == RECORDS);
                assert!(is_all(partition, got));
            });
        }
    });
}

#[test]
fn many_segments_are_served_with_few_descriptors() {
    let (_folder, mut cluster) = limited_node();
    let partitions = PARTITIONS.to_string();
    let create = ["topic", "create", "long", "--partitions", &partitions];
    run(&cluster, &[&create[..], &["--config", "segment.ms=100"]].concat());
    cluster.wait_led("long", PATIENCE).unwrap();
    for partition in 0..PARTITIONS {
        let offsets =
            send_all(&cluster.bootstrap(), "long", partition, &to_send(partition), &ONE_BY_ONE);
        assert!(offsets.into_iter().eq(0..RECORDS as i64));
    }
    assert!(segments_of(&cluster).len() >= RECORDS * PARTITIONS as usize);
    let readers = consumers(&cluster);
    read_everything(&readers);
    let (all, segments) = open_files(&cluster);
    // Some may have been in use when it was their turn to be closed.
    let most = SEGMENTS + 2 * PARTITIONS as usize;
    assert!(segments <= most && all < LIMIT as usize, "{all}, of segments {segments}");

    // More connections than there are descriptors: they leave some to the rest.
    let address = cluster.node(1).ports.kafka;
    let crowd: Vec<TcpStream> =
        (0..2 * LIMIT).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert!(crowd.len() > LIMIT as usize);
    read_everything(&readers);
    drop((crowd, readers));

    // No more than are open: each segment that is opened takes the place of others.
    let connected = consumers(&cluster);
    limit_to(&cluster, open_files(&cluster).0 as u64);
    read_everything(&connected);
    limit_to(&cluster, LIMIT);
    // Where nothing else is left a connection takes the place of a segment, of which there are as many again.
    // Once half of them have gone the next one waits, and the client reads without it.
    read_everything(&connected);
    let others = take_the_rest(&cluster);
    read_everything(&[consumer(&cluster.bootstrap(), "readers", &[])]);
    drop((connected, others));
    let more = &to_send(0)[..10];
    let offsets = send_all(&cluster.bootstrap(), "long", 0, more, &ONE_BY_ONE);
    assert!(offsets.into_iter().eq((RECORDS..RECORDS + 10).map(|offset| offset as i64)));
    assert!(cluster.node_mut(1).is_running().unwrap());
    cluster.stop_all(PATIENCE).unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_led("long", PATIENCE).unwrap();
    let got = read(&cluster.bootstrap(), "long", 0, &[]);
    assert_eq!(got.len(), RECORDS + 10);
}

/// What a node says whose logs wait.
const WAITS: &str = "a log waits";
const SHORTAGES: usize = 3;
/// The offsets of what was acknowledged, in the order in which it was.
#[derive(Default)]
struct Offsets(Mutex<Vec<i64>>);

impl ClientContext for Offsets {}

impl ProducerContext for Offsets {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = result.as_ref().map_err(|(error, _)| error).unwrap();
        self.0.lock().unwrap().push(message.offset());
    }
}

/// Sends to a partition, over one connection, until it is told to stop; how many records there were.
fn send_until(stop: &AtomicBool, bootstrap: &str, partition: i32) -> usize {
    let mut config = client_config(bootstrap);
    config.set("enable.idempotence", "true").set("queue.buffering.max.messages", "20");
    let producer: BaseProducer<_> = config.create_with_context(Offsets::default()).unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let Record { key, value, .. } = record(partition, sent);
        let value = value.repeat(20);
        let message = BaseRecord::to("rolls").partition(partition).key(&key).payload(&value);
        match producer.send(message) {
            Ok(()) => sent += 1,
            Err(_) => {
                producer.poll(Duration::from_millis(20));
            }
        }
    }
    producer.flush(PATIENCE).unwrap();
    let offsets = std::mem::take(&mut *producer.context().0.lock().unwrap());
    assert!(offsets.into_iter().eq(0..sent as i64));
    sent
}

/// Whether it comes true in time.
fn until(condition: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !condition() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// What segments take on the disk.
fn bytes_of_segments(cluster: &Cluster) -> u64 {
    segments_of(cluster).iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum()
}

#[test]
fn appends_rolls_and_syncs_wait_for_descriptors_and_go_on() {
    let (_folder, cluster) = limited_node();
    let create = ["topic", "create", "rolls", "--partitions", "2"];
    run(&cluster, &[&create[..], &["--config", "segment.bytes=1048576"]].concat());
    cluster.wait_led("rolls", PATIENCE).unwrap();
    let said = || fs::read_to_string(cluster.node(1).log_path()).unwrap().matches(WAITS).count();
    let written = || bytes_of_segments(&cluster);
    let (stop, bootstrap) = (AtomicBool::new(false), cluster.bootstrap());
    let (sent, went_on): (Vec<usize>, bool) = std::thread::scope(|scope| {
        let (stop, bootstrap) = (&stop, &bootstrap);
        let senders =
            [0, 1].map(|partition| scope.spawn(move || send_until(stop, bootstrap, partition)));
        let went_on = (0..=SHORTAGES).all(|shortage| {
            let (said_before, written_before) = (said(), written());
            let goes_on = until(|| written() > written_before + (4 << 20));
            if !goes_on || shortage == SHORTAGES {
                return goes_on;
            }
            // Below what it has: there is none, whatever it closes.
            limit_to(&cluster, 16);
            let has_waited = until(|| said() > said_before);
            limit_to(&cluster, LIMIT);
            has_waited
        });
        stop.store(true, Ordering::Relaxed);
        (senders.into_iter().map(|sender| sender.join().unwrap()).collect(), went_on)
    });
    assert!(went_on, "{}", cluster.node(1).log_tail());
    for (partition, sent) in (0..).zip(sent) {
        let got = read(&cluster.bootstrap(), "rolls", partition, &[]);
        assert!(got.iter().map(|(offset, _)| *offset).eq(0..sent as i64), "{partition}: {sent}");
        let keys = (0..sent).map(|n| record(partition, n).key);
        assert!(got.into_iter().map(|(_, record)| record.key).eq(keys));
    }
}
