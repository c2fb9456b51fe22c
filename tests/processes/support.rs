//! Clusters and clients for the tests here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jackdaw_chaos::cluster::{Cluster, ClusterOptions};
use jackdaw_chaos::workload::client_config;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

/// No condition here takes longer on a working cluster, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_jackdaw"))
}

/// A cluster's options: groups need not wait for members that might come.
pub(crate) fn options(nodes: usize) -> ClusterOptions {
    ClusterOptions::new(nodes, binary()).set("groups.initial_rebalance_delay_ms", "0")
}

/// A running cluster.
pub(crate) fn cluster(nodes: usize) -> Cluster {
    Cluster::start(&options(nodes), PATIENCE).unwrap()
}

/// A record as it is sent and as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) header: Option<String>,
    pub(crate) timestamp: Option<i64>,
}

impl Record {
    pub(crate) fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), ..Self::default() }
    }
}

/// `count` records of distinct values.
pub(crate) fn records(count: usize) -> Vec<Record> {
    (0..count).map(|n| Record::new(format!("k{}", n % 10), format!("value {n}"))).collect()
}

type Deliveries = Arc<Mutex<Vec<Result<i64, RDKafkaErrorCode>>>>;

struct Collector(Deliveries);

impl ClientContext for Collector {}

impl ProducerContext for Collector {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, index: Box<usize>) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        self.0.lock().unwrap()[*index] = outcome;
    }
}

/// Sends all records to one partition at `acks=all` and gives each one's offset or error.
pub(crate) fn send(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    records: &[Record],
    settings: &[(&str, &str)],
) -> Vec<Result<i64, RDKafkaErrorCode>> {
    let outcomes = Arc::new(Mutex::new(vec![Err(RDKafkaErrorCode::InProgress); records.len()]));
    let mut config = client_config(bootstrap);
    config.set("acks", "all").set("message.timeout.ms", "30000").set("linger.ms", "5");
    settings.iter().for_each(|(key, value)| {
        config.set(*key, *value);
    });
    let producer: ThreadedProducer<_> =
        config.create_with_context(Collector(outcomes.clone())).unwrap();
    for (index, record) in records.iter().enumerate() {
        let mut message = BaseRecord::with_opaque_to(topic, Box::new(index))
            .partition(partition)
            .key(&record.key)
            .payload(&record.value);
        if let Some(header) = &record.header {
            let header = rdkafka::message::Header { key: "h", value: Some(header) };
            message = message.headers(OwnedHeaders::new().insert(header));
        }
        message.timestamp = record.timestamp;
        if let Err((error, message)) = producer.send(message) {
            let code = error.rdkafka_error_code().unwrap();
            outcomes.lock().unwrap()[*message.delivery_opaque] = Err(code);
        }
    }
    producer.flush(PATIENCE).unwrap();
    outcomes.lock().unwrap().clone()
}

/// As [`send`], where every record must be acknowledged; gives the offsets.
pub(crate) fn send_all(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    records: &[Record],
    settings: &[(&str, &str)],
) -> Vec<i64> {
    let outcomes = send(bootstrap, topic, partition, records, settings);
    outcomes.into_iter().map(|outcome| outcome.expect("acknowledged")).collect()
}

/// A consumer that joins no group unless it subscribes.
pub(crate) fn consumer(bootstrap: &str, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = client_config(bootstrap);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .set("fetch.wait.max.ms", "100");
    settings.iter().for_each(|(key, value)| {
        config.set(*key, *value);
    });
    config.create().unwrap()
}

/// Reads a partition from its beginning to its high watermark: each record with its offset.
pub(crate) fn read(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    settings: &[(&str, &str)],
) -> Vec<(i64, Record)> {
    let consumer = consumer(bootstrap, "tests-read", settings);
    let (low, high) = watermarks(&consumer, topic, partition);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    poll_until(&consumer, |read| low == high || read.last().is_some_and(|(at, _)| at + 1 >= high))
}

/// A partition's low and high watermark.
pub(crate) fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    retry(|| consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)))
}

/// Polls until `enough` of what has been read.
pub(crate) fn poll_until(
    consumer: &BaseConsumer,
    enough: impl Fn(&[(i64, Record)]) -> bool,
) -> Vec<(i64, Record)> {
    let (begin, mut read, mut trouble) = (Instant::now(), Vec::new(), None);
    while !enough(&read) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(error)) => trouble = Some(error),
            Some(Ok(message)) => {
                let header = message.headers().map(|headers| headers.get(0));
                let header = header.and_then(|header| header.value);
                let record = Record {
                    key: String::from_utf8_lossy(message.key().unwrap()).into(),
                    value: message.payload().unwrap().to_vec(),
                    header: header.map(|value| String::from_utf8_lossy(value).into()),
                    timestamp: None,
                };
                read.push((message.offset(), record));
            }
        }
        let patient = begin.elapsed() < PATIENCE;
        assert!(patient, "{} records read, last trouble {trouble:?}", read.len());
    }
    read
}

/// Repeats a request that a cluster in motion may fail, as clients do.
pub(crate) fn retry<T>(mut request: impl FnMut() -> Result<T, KafkaError>) -> T {
    let begin = Instant::now();
    loop {
        match request() {
            Ok(answer) => return answer,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
