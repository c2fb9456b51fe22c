//! Old records go, on every node, and nothing else does.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use jackdaw::protocol::client::encode_request;
use jackdaw_chaos::cluster::Cluster;
use jackdaw_chaos::workload::client_config;
use kafka_wire::IncrementalAlterConfigsRequest;
use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire_core::StrBytes;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::raw;
use super::support::{PATIENCE, Record, binary, consumer, options, read, send_all, watermarks};

const RECORD_BYTES: usize = 50_000;

pub(crate) fn run(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = Command::new(binary())
        .args(arguments)
        .args(["--bootstrap", &cluster.bootstrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn large(count: usize) -> Vec<Record> {
    (0..count).map(|n| Record::new(n.to_string(), vec![n as u8; RECORD_BYTES])).collect()
}

/// Waits until the partition's low watermark is one that `enough` accepts.
fn wait_low(cluster: &Cluster, topic: &str, enough: impl Fn(i64) -> bool) -> i64 {
    let (begin, client) = (Instant::now(), consumer(&cluster.bootstrap(), "g", &[]));
    loop {
        let (low, high) = watermarks(&client, topic, 0);
        if enough(low) {
            return low;
        }
        assert!(begin.elapsed() < PATIENCE, "{topic} is still at {low} of {high}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn delete(cluster: &Cluster, before: Offset) -> Result<i64, RDKafkaErrorCode> {
    let config = client_config(&cluster.bootstrap());
    let client: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("kept", 0, before).unwrap();
    let timeout = Some(Duration::from_secs(20));
    let options = AdminOptions::new().operation_timeout(timeout).request_timeout(timeout);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(client.delete_records(&offsets, &options)).unwrap();
    let partition = &answer.elements()[0];
    match partition.error() {
        Ok(()) => match partition.offset() {
            Offset::Offset(offset) => Ok(offset),
            other => panic!("{other:?}"),
        },
        Err(error) => Err(error.rdkafka_error_code().unwrap()),
    }
}

fn wait(what: &str, met: impl Fn() -> bool) {
    let begin = Instant::now();
    while !met() {
        assert!(begin.elapsed() < PATIENCE, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last entry that a node has purged, as its newest mark says.
fn purged_index(cluster: &Cluster, node: i32) -> u64 {
    let mark = cluster.node(node).data_dir().join("partitions/kept-0/retained");
    let bytes = std::fs::read(mark).unwrap();
    let number = |slot: &[u8], at: usize| u64::from_be_bytes(slot[at..at + 8].try_into().unwrap());
    bytes.chunks(512).max_by_key(|slot| number(slot, 8)).map_or(0, |slot| number(slot, 24))
}

fn segment_files(cluster: &Cluster, node: i32) -> usize {
    let folder = cluster.node(node).data_dir().join("partitions/kept-0");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).count()
}

#[test]
fn a_node_that_was_away_while_old_records_went_comes_back_with_the_rest() {
    let options = options(3).set("storage.retention_check_interval_ms", "200");
    let mut cluster = Cluster::start(&options, PATIENCE).unwrap();
    let bootstrap = cluster.bootstrap();
    let configs = ["--config", "segment.bytes=1048576", "--config", "retention.bytes=3145728"];
    let create = ["topic", "create", "kept", "--partitions", "1", "--replication-factor", "3"];
    run(&cluster, &[&create[..], &configs].concat());
    let leader = cluster.wait_led("kept", PATIENCE).unwrap()[0].leader.unwrap();
    let sent = large(250);
    let idempotent = [("enable.idempotence", "true")];
    send_all(&bootstrap, "kept", 0, &sent[..10], &idempotent);

    let away = leader % 3 + 1;
    cluster.node_mut(away).kill().unwrap();
    send_all(&bootstrap, "kept", 0, &sent[10..], &idempotent);
    // 12 MB in segments of 1 MiB, of which 3 MiB and a bit stay.
    let low = wait_low(&cluster, "kept", |low| low > 150);
    assert!(low < 200, "{low}");
    cluster.node_mut(away).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_caught_up("kept", PATIENCE).unwrap();
    let got = read(&bootstrap, "kept", 0, &[]);
    let first = got[0].0;
    // The last round may have come only now.
    assert!(low <= first && first <= wait_low(&cluster, "kept", |_| true));
    assert!(got.iter().map(|(offset, _)| *offset).eq(first..250));
    assert!(got.into_iter().map(|(_, record)| record).eq(sent[first as usize..].iter().cloned()));
    wait("old segments are gone", || (1..=3).all(|node| segment_files(&cluster, node) <= 5));

    // A client deletes some more, in the middle of a segment.
    assert_eq!(delete(&cluster, Offset::Offset(233)), Ok(233));
    assert_eq!(delete(&cluster, Offset::Offset(251)), Err(RDKafkaErrorCode::OffsetOutOfRange));
    assert_eq!(wait_low(&cluster, "kept", |_| true), 233);
    cluster.kill_all().unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_led("kept", PATIENCE).unwrap();
    assert_eq!(wait_low(&cluster, "kept", |_| true), 233);
    assert_eq!(read(&bootstrap, "kept", 0, &[])[0].0, 233);
    cluster.wait_caught_up("kept", PATIENCE).unwrap();
    wait("all have purged the same", || {
        (2..=3).all(|node| purged_index(&cluster, node) == purged_index(&cluster, 1))
    });
    cluster.stop_and_compare("kept").unwrap();
}

#[test]
fn records_go_by_age_and_by_command_and_new_limits_count_at_once() {
    let options = options(1).set("storage.retention_check_interval_ms", "100");
    let mut cluster = Cluster::start(&options, PATIENCE).unwrap();
    let bootstrap = cluster.bootstrap();
    let create = ["topic", "create", "aging", "--partitions", "1"];
    run(&cluster, &[&create[..], &["--config", "retention.ms=-1"]].concat());
    let day_ms = 86_400_000;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let old = i64::try_from(now.as_millis()).unwrap() - 30 * day_ms;
    let sent: Vec<Record> =
        (0..20).map(|n| Record { timestamp: Some(old + n), ..Record::new("k", "v") }).collect();
    send_all(&bootstrap, "aging", 0, &sent, &[]);
    // A round that has emptied another topic has looked at this one.
    let create = ["topic", "create", "short", "--partitions", "1"];
    run(&cluster, &[&create[..], &["--config", "retention.ms=1000"]].concat());
    send_all(&bootstrap, "short", 0, &sent, &[]);
    assert_eq!(wait_low(&cluster, "short", |low| low > 0), 20);
    assert_eq!(wait_low(&cluster, "aging", |_| true), 0, "kept for ever");

    let text = run(&cluster, &["topic", "delete-records", "aging", "--before", "7", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["partitions"][0]["log_start_offset"], 7, "{text}");
    assert_eq!(wait_low(&cluster, "aging", |_| true), 7);
    assert_eq!(read(&bootstrap, "aging", 0, &[])[0].0, 7);
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset("aging", 0, Offset::Offset(old)).unwrap();
    let client = consumer(&bootstrap, "g", &[]);
    let found = client.offsets_for_times(asked, Duration::from_secs(10)).unwrap();
    assert_eq!(found.elements()[0].offset(), Offset::Offset(7), "deleted records are not found");

    alter(cluster.node(1).ports.kafka, "aging", "retention.ms", "1000");
    assert_eq!(wait_low(&cluster, "aging", |low| low > 7), 20, "the whole active segment is old");
    assert_eq!(send_all(&bootstrap, "aging", 0, &sent[..1], &[]), [20]);
    assert_eq!(wait_low(&cluster, "aging", |low| low > 20), 21);
    cluster.stop_all(PATIENCE).unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_led("aging", PATIENCE).unwrap();
    assert_eq!(watermarks(&consumer(&bootstrap, "g", &[]), "aging", 0), (21, 21));
}

/// IncrementalAlterConfigs, which librdkafka's binding does not send.
pub(crate) fn alter(address: SocketAddr, topic: &str, key: &str, value: &str) {
    let mut config = AlterableConfig::default();
    config.name = StrBytes::from(key);
    config.value = Some(StrBytes::from(value));
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = 2;
    resource.resource_name = StrBytes::from(topic);
    resource.configs = vec![config];
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let frame = encode_request(&request, 1, 7, "t").unwrap();
    let answer = raw::call(&mut raw::connect(address).unwrap(), &frame).unwrap();
    // Tagged fields of the header, throttle time, one resource, its error.
    assert_eq!(answer[..8], [0, 0, 0, 0, 0, 2, 0, 0], "{answer:02x?}");
}
