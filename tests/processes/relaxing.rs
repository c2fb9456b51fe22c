//! A topic that does not wait for the disk.

use jackdaw_chaos::workload::create_topic;

use super::retention::alter;
use super::support::{PATIENCE, cluster, read, records, send_all};

#[test]
fn a_topic_becomes_relaxed_and_durable_while_it_runs_and_kills_take_nothing() {
    let mut cluster = cluster(3);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "fast", 1, 3).unwrap();
    cluster.wait_led("fast", PATIENCE).unwrap();
    let everywhere = |cluster: &jackdaw_chaos::cluster::Cluster, line: &str| {
        for node in cluster.nodes() {
            node.wait_metric(line, PATIENCE).unwrap();
        }
    };
    everywhere(&cluster, "jackdaw_relaxed_partitions 0");
    let kafka = cluster.node(1).ports.kafka;
    alter(kafka, "fast", "flush.messages", "1000000");
    everywhere(&cluster, "jackdaw_relaxed_partitions 1");
    let sent = records(500);
    assert_eq!(send_all(&bootstrap, "fast", 0, &sent, &[]).len(), 500);
    // All replicas have them, none on its disk.
    everywhere(&cluster, "jackdaw_relaxed_unsynced_records 500");
    cluster.kill_all().unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_led("fast", PATIENCE).unwrap();
    let found: Vec<_> = read(&bootstrap, "fast", 0, &[]).into_iter().map(|(_, r)| r).collect();
    assert_eq!(found, sent);
    everywhere(&cluster, "jackdaw_relaxed_unsynced_records 0");
    alter(kafka, "fast", "flush.messages", "100");
    send_all(&bootstrap, "fast", 0, &sent[..400], &[]);
    alter(kafka, "fast", "flush.messages", "1");
    everywhere(&cluster, "jackdaw_relaxed_partitions 0");
    assert_eq!(read(&bootstrap, "fast", 0, &[]).len(), 900);
}
