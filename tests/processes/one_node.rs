//! One node: what is produced is read back, also after a restart.

use std::time::{Duration, Instant};

use jackdaw_chaos::cluster::Cluster;
use rdkafka::error::RDKafkaErrorCode;

use super::raw;
use super::support::{
    PATIENCE, Record, cluster, consumer, options, read, records, send, send_all, watermarks,
};

const MIB: usize = 1 << 20;
/// From exec to answered ApiVersions and Metadata on an empty folder. The bar for a release build
/// on an idle machine is 100 ms; other tests run beside this one.
const START_BAR: Duration = Duration::from_millis(1000);
/// Resident memory of an idle node; the bar for a release build is 30 MB.
const IDLE_BYTES_MAX: u64 = 60 << 20;

#[test]
fn an_empty_node_answers_soon_and_stays_small() {
    let mut cluster = Cluster::prepare(&options(1)).unwrap();
    let address = cluster.node(1).ports.kafka;
    let begin = Instant::now();
    cluster.start_all().unwrap();
    while !raw::works(address).unwrap_or(false) {
        assert!(begin.elapsed() < PATIENCE, "{}", cluster.node(1).log_tail());
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = begin.elapsed();
    cluster.wait_ready(PATIENCE).unwrap();
    let resident = cluster.node(1).resident_bytes().unwrap();
    println!("answered after {took:?}, {} KiB resident", resident / 1024);
    assert!(took < START_BAR, "{took:?}");
    assert!(resident < IDLE_BYTES_MAX, "{resident}");
}

#[test]
fn every_codec_comes_back_as_it_was_sent() {
    let cluster = cluster(1);
    let bootstrap = cluster.bootstrap();
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let topic = format!("codec-{codec}");
        let mut sent = records(500);
        sent.iter_mut().step_by(7).for_each(|record| record.header = Some("header".into()));
        sent[3].value.clear();
        let offsets = send_all(&bootstrap, &topic, 0, &sent, &[("compression.type", codec)]);
        assert_eq!(offsets, (0..500).collect::<Vec<i64>>(), "{codec}");
        let got = read(&bootstrap, &topic, 0, &[]);
        assert!(got.iter().map(|(offset, _)| *offset).eq(0..500), "{codec}");
        assert!(got.into_iter().map(|(_, record)| record).eq(sent), "{codec}");
    }
}

#[test]
fn big_batches_pass_and_too_big_ones_are_refused() {
    let cluster = cluster(1);
    let bootstrap = cluster.bootstrap();
    let sent: Vec<Record> =
        (0..24).map(|n| Record::new(n.to_string(), vec![n as u8; 999_000])).collect();
    send_all(&bootstrap, "big", 0, &sent, &[("batch.size", "1000000")]);
    // The first batch comes whole even to a client that asks for less.
    let small = [("fetch.message.max.bytes", "1000"), ("fetch.max.bytes", "2000000")];
    let got = read(&bootstrap, "big", 0, &small);
    assert!(got.into_iter().map(|(_, record)| record).eq(sent));

    let too_big = [Record::new("k", vec![7; 3 * MIB])];
    let unbounded = [("message.max.bytes", "10000000"), ("batch.size", "10000000")];
    let outcomes = send(&bootstrap, "big", 0, &too_big, &unbounded);
    assert_eq!(outcomes, [Err(RDKafkaErrorCode::MessageSizeTooLarge)]);
    let (low, high) = watermarks(&consumer(&bootstrap, "g", &[]), "big", 0);
    assert_eq!((low, high), (0, 24));
}

#[test]
fn a_restart_keeps_everything() {
    let mut cluster = cluster(1);
    let bootstrap = cluster.bootstrap();
    let sent = records(1000);
    send_all(&bootstrap, "kept", 0, &sent[..500], &[]);
    let id = cluster.view().unwrap().topics[0].id.clone();

    cluster.stop_all(PATIENCE).unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert_eq!(read(&bootstrap, "kept", 0, &[]).len(), 500);
    let idempotent = [("enable.idempotence", "true")];
    let offsets = send_all(&bootstrap, "kept", 0, &sent[500..], &idempotent);
    assert_eq!(offsets[0], 500, "a restart takes no offset");

    cluster.kill_all().unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    let got = read(&bootstrap, "kept", 0, &[]);
    assert!(got.iter().map(|(offset, _)| *offset).eq(0..1000));
    assert!(got.into_iter().map(|(_, record)| record).eq(sent));
    assert_eq!(cluster.view().unwrap().topics[0].id, id);
    cluster.stop_and_compare("kept").unwrap();
}
