//! Compacted topics as librdkafka sees them: the newest record of each key, on whichever node leads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jackdaw_chaos::cluster::Cluster;
use jackdaw_chaos::workload::client_config;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::retention::{alter, run};
use super::support::{PATIENCE, Record, consumer, options, send_all, watermarks};

const KEYS: usize = 200;

/// Keys in order of their records, and what each has last: `None` is a tombstone.
type Seen = (usize, BTreeMap<String, Option<Vec<u8>>>);

fn create(cluster: &Cluster, topic: &str, replicas: &str, configs: &[&str]) {
    let mut arguments = vec!["topic", "create", topic, "--partitions", "1"];
    arguments.extend(["--replication-factor", replicas]);
    for config in configs {
        arguments.extend(["--config", config]);
    }
    run(cluster, &arguments);
    cluster.wait_led(topic, PATIENCE).unwrap();
}

/// `count` records over all keys, of bytes that do not compress.
fn stream(count: usize) -> Vec<Record> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    let value = |_| (0..800).map(|_| next()).collect::<Vec<u8>>();
    let values: Vec<_> = (0..count).map(value).collect();
    (0..count).zip(values).map(|(n, value)| Record::new(format!("k{}", n % KEYS), value)).collect()
}

/// So many bytes of keys of their own that whatever came before is in closed segments.
fn fillers(name: &str) -> Vec<Record> {
    (0..30).map(|n| Record::new(format!("{name}{n}"), vec![n as u8; 100_000])).collect()
}

fn bury(cluster: &Cluster, topic: &str, keys: std::ops::Range<usize>) {
    let producer: BaseProducer = client_config(&cluster.bootstrap()).create().unwrap();
    for key in keys {
        let key = format!("k{key}");
        producer.send(BaseRecord::<str, [u8]>::to(topic).partition(0).key(&key)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Reads everything from the beginning, in fetches of a few small batches.
fn read(cluster: &Cluster, topic: &str) -> Seen {
    let settings = [("fetch.message.max.bytes", "2000"), ("queued.min.messages", "100000")];
    let client = consumer(&cluster.bootstrap(), "tests-read", &settings);
    let (_, high) = watermarks(&client, topic, 0);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    client.assign(&assignment).unwrap();
    let (begin, mut count, mut newest) = (Instant::now(), 0, BTreeMap::new());
    loop {
        assert!(begin.elapsed() < PATIENCE, "{count} records of {topic} read, end {high}");
        let Some(Ok(message)) = client.poll(Duration::from_millis(100)) else { continue };
        count += 1;
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        newest.insert(key, message.payload().map(<[u8]>::to_vec));
        if message.offset() + 1 >= high {
            return (count, newest);
        }
    }
}

/// Waits until reading gives `want` and nothing else: each key once.
fn wait_for(cluster: &Cluster, topic: &str, want: &BTreeMap<String, Option<Vec<u8>>>) {
    let begin = Instant::now();
    loop {
        let (count, seen) = read(cluster, topic);
        if count == want.len() && seen == *want {
            return;
        }
        let differs = seen.iter().find(|(key, value)| want.get(*key) != Some(value));
        let differs = differs.map(|(key, value)| (key, value.as_ref().map(Vec::len)));
        let (keys, wanted) = (seen.len(), want.len());
        let late = begin.elapsed() > PATIENCE;
        assert!(!late, "{count} records of {keys} keys, not {wanted}: {differs:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// As [`wait_for`], with ever more records: only the next compaction but one finds tombstones past their
/// time, and without new ones there is none.
fn feed_until(cluster: &Cluster, topic: &str, want: &mut BTreeMap<String, Option<Vec<u8>>>) {
    let begin = Instant::now();
    loop {
        let (count, seen) = read(cluster, topic);
        if count == want.len() && seen == *want {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{count} records, not {}", want.len());
        let more = fillers(&format!("after {} ", want.len()));
        send_all(&cluster.bootstrap(), topic, 0, &more, &[]);
        keep(want, &more);
    }
}

fn keep(want: &mut BTreeMap<String, Option<Vec<u8>>>, records: &[Record]) {
    for Record { key, value, .. } in records {
        want.insert(key.clone(), Some(value.clone()));
    }
}

#[test]
fn consumers_see_the_newest_record_of_each_key_whoever_leads() {
    let options = options(3).set("storage.compaction_interval_ms", "100");
    let mut cluster = Cluster::start(&options, PATIENCE).unwrap();
    let bootstrap = cluster.bootstrap();
    let configs = [
        "cleanup.policy=compact",
        "segment.bytes=1048576",
        "min.cleanable.dirty.ratio=0.01",
        "delete.retention.ms=1",
    ];
    create(&cluster, "keyed", "3", &configs);
    let sent = stream(6_000);
    let (singly, batched) = sent.split_at(4_000);
    // One batch to a record, most of which end up empty; then batches that keep some of theirs.
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "1")];
    send_all(&bootstrap, "keyed", 0, singly, &settings);
    let settings = [("compression.type", "lz4"), ("batch.num.messages", "70")];
    send_all(&bootstrap, "keyed", 0, batched, &settings);
    let first = fillers("first");
    send_all(&bootstrap, "keyed", 0, &first, &[]);
    let mut want = BTreeMap::new();
    keep(&mut want, &sent);
    keep(&mut want, &first);
    assert_eq!(want.len(), KEYS + first.len());
    wait_for(&cluster, "keyed", &want);

    // A node that was away is sent what the others' compaction has left.
    let leader = cluster.wait_led("keyed", PATIENCE).unwrap()[0].leader.unwrap();
    let away = leader % 3 + 1;
    cluster.node_mut(away).kill().unwrap();
    let second = [stream(1_000), fillers("second")].concat();
    send_all(&bootstrap, "keyed", 0, &second, &[]);
    keep(&mut want, &second);
    wait_for(&cluster, "keyed", &want);
    cluster.node_mut(away).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_caught_up("keyed", PATIENCE).unwrap();
    bury(&cluster, "keyed", 0..50);
    cluster.wait_caught_up("keyed", PATIENCE).unwrap();
    (0..50).for_each(|key| drop(want.remove(&format!("k{key}"))));
    feed_until(&cluster, "keyed", &mut want);

    // The others have compacted what they have for themselves.
    cluster.wait_caught_up("keyed", PATIENCE).unwrap();
    cluster.node_mut(leader).kill().unwrap();
    let begin = Instant::now();
    while cluster.wait_led("keyed", PATIENCE).unwrap()[0].leader.is_none_or(|now| now == leader) {
        assert!(begin.elapsed() < PATIENCE);
    }
    feed_until(&cluster, "keyed", &mut want);
    cluster.node_mut(leader).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.kill_all().unwrap();
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_led("keyed", PATIENCE).unwrap();
    wait_for(&cluster, "keyed", &want);
    cluster.stop_all(PATIENCE).unwrap();
    for node in 1..=3 {
        let folder = cluster.node(node).data_dir().to_owned();
        let verify = ["log", "verify"];
        let output = std::process::Command::new(super::support::binary())
            .args(verify)
            .arg(folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn compaction_begins_with_the_config_and_asks_for_keys() {
    let options = options(1).set("storage.compaction_interval_ms", "100");
    let cluster = Cluster::start(&options, PATIENCE).unwrap();
    let bootstrap = cluster.bootstrap();
    create(&cluster, "late", "1", &["segment.bytes=1048576", "min.cleanable.dirty.ratio=0"]);
    let sent = [stream(3_000), fillers("f")].concat();
    send_all(&bootstrap, "late", 0, &sent, &[]);
    let mut want = BTreeMap::new();
    keep(&mut want, &sent);
    // Once another topic that came later is compacted, this one was passed over.
    let compact = "cleanup.policy=compact";
    create(&cluster, "other", "1", &["segment.bytes=1048576", compact]);
    send_all(&bootstrap, "other", 0, &sent, &[]);
    wait_for(&cluster, "other", &want);
    assert_eq!(read(&cluster, "late").0, sent.len());

    alter(cluster.node(1).ports.kafka, "late", "cleanup.policy", "compact,delete");
    wait_for(&cluster, "late", &want);
    assert_eq!(without_key(&bootstrap, "late"), Some(RDKafkaErrorCode::InvalidRecord));
    alter(cluster.node(1).ports.kafka, "late", "cleanup.policy", "delete");
    let begin = Instant::now();
    while without_key(&bootstrap, "late").is_some() {
        assert!(begin.elapsed() < PATIENCE);
    }
}

/// How a record without a key is refused.
fn without_key(bootstrap: &str, topic: &str) -> Option<RDKafkaErrorCode> {
    use std::sync::{Arc, Mutex};

    use rdkafka::ClientContext;
    use rdkafka::producer::{DeliveryResult, ProducerContext, ThreadedProducer};

    #[derive(Clone, Default)]
    struct Outcome(Arc<Mutex<Option<Option<RDKafkaErrorCode>>>>);
    impl ClientContext for Outcome {}
    impl ProducerContext for Outcome {
        type DeliveryOpaque = ();
        fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
            let code = result.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code());
            *self.0.lock().unwrap() = Some(code);
        }
    }
    let outcome = Outcome::default();
    let producer: ThreadedProducer<_> =
        client_config(bootstrap).create_with_context(outcome.clone()).unwrap();
    let record = BaseRecord::<(), str, ()>::to(topic).partition(0).payload("no key");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    let told = outcome.0.lock().unwrap().take();
    told.expect("an outcome")
}
