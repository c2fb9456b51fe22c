//! What produced records must be, and what topics make of them: over a socket, byte for byte.

use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jackdaw::model::batch_builder::BatchBuilder;
use jackdaw::model::compression::Compression;
use jackdaw::model::record_batch::BatchHeader;
use jackdaw::model::records::{RecordBatch, batches};
use jackdaw::model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use jackdaw::protocol::client::{decode_response, encode_request};
use jackdaw_chaos::cluster::Cluster;
use kafka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::produce_response::PartitionProduceResponse;
use kafka_wire::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, RequestResponsePair,
};
use rdkafka::Timestamp as Time;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message as _;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::raw;
use super::support::{PATIENCE, cluster, consumer, records, send_all};

const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

struct Client(TcpStream);

impl Client {
    fn to(cluster: &Cluster) -> Self {
        Self(raw::connect(cluster.node(1).ports.kafka).unwrap())
    }

    fn call<R: RequestResponsePair>(&mut self, request: &R, version: i16) -> R::Response {
        let frame = encode_request(request, version, 7, "test").unwrap();
        let answer = raw::call(&mut self.0, &frame).unwrap();
        let answer = [&7_i32.to_be_bytes()[..], &answer].concat();
        decode_response::<R>(Bytes::from(answer), version, 7).unwrap()
    }

    /// A topic of one partition that is led.
    fn create(&mut self, cluster: &Cluster, name: &str, configs: &[(&str, &str)]) {
        let mut topic = CreatableTopic::default();
        topic.name = name.into();
        (topic.num_partitions, topic.replication_factor) = (1, 1);
        for (key, value) in configs {
            let mut config = CreatableTopicConfig::default();
            (config.name, config.value) = ((*key).into(), Some((*value).into()));
            topic.configs.push(config);
        }
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = 10_000;
        let answer = self.call(&request, 5);
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        cluster.wait_led(name, PATIENCE).unwrap();
    }

    fn produce(&mut self, topic: &str, batch: &[u8]) -> PartitionProduceResponse {
        let mut partition = PartitionProduceData::default();
        partition.records = Some(Bytes::copy_from_slice(batch));
        let mut data = TopicProduceData::default();
        data.name = topic.into();
        data.partition_data = vec![partition];
        let mut request = ProduceRequest::default();
        (request.acks, request.timeout_ms) = (-1, 10_000);
        request.topic_data = vec![data];
        self.call(&request, 9).responses.remove(0).partition_responses.remove(0)
    }

    /// The batches of a topic from its beginning, or an error.
    fn fetch(&mut self, topic: &str, version: i16) -> Result<Vec<Bytes>, i16> {
        let mut partition = FetchPartition::default();
        partition.partition_max_bytes = 1 << 20;
        let mut asked = FetchTopic::default();
        asked.topic = topic.into();
        asked.partitions = vec![partition];
        let mut request = FetchRequest::default();
        (request.max_wait_ms, request.max_bytes, request.session_epoch) = (100, 1 << 20, -1);
        request.topics = vec![asked];
        let mut answer = self.call(&request, version);
        let partition = answer.responses.remove(0).partitions.remove(0);
        if partition.error_code != 0 {
            return Err(partition.error_code);
        }
        Ok(batches(partition.records.unwrap_or_default()).map(Result::unwrap).collect())
    }

    /// Offset and timestamp that ListOffsets finds.
    fn list_offset(&mut self, topic: &str, timestamp: i64) -> (i64, i64) {
        let mut partition = ListOffsetsPartition::default();
        partition.timestamp = timestamp;
        partition.current_leader_epoch = -1;
        let mut asked = ListOffsetsTopic::default();
        asked.name = topic.into();
        asked.partitions = vec![partition];
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.topics = vec![asked];
        let answer = self.call(&request, 7);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        (partition.offset, partition.timestamp)
    }
}

fn batch(codec: Compression, values: &[&[u8]], timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for value in values {
        builder.append(Timestamp(timestamp), Some(b"key"), Some(value), &[]);
    }
    builder.build().unwrap().to_vec()
}

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

#[test]
fn garbage_under_a_valid_crc_is_refused() {
    let cluster = cluster(1);
    let mut client = Client::to(&cluster);
    client.create(&cluster, "strict", &[]);
    for codec in Compression::ALL {
        let good = batch(codec, &[b"value", b"value", b"value"], now());
        let mut garbage = good.clone();
        garbage[61..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        let mut counts_more = good.clone();
        (counts_more[26], counts_more[60]) = (3, 4);
        for hostile in [garbage, counts_more] {
            let answer = client.produce("strict", &sealed(hostile));
            assert_eq!(answer.error_code, INVALID_RECORD, "{codec}: {:?}", answer.error_message);
            assert!(answer.error_message.is_some());
        }
    }
    let future = batch(Compression::Gzip, &[b"value"], now() + 86_400_000);
    let answer = client.produce("strict", &future);
    assert_eq!(answer.error_code, INVALID_TIMESTAMP);
    assert_eq!(answer.record_errors[0].batch_index, 0);

    for (codec, offset) in Compression::ALL.into_iter().zip((0..).step_by(2)) {
        let answer = client.produce("strict", &batch(codec, &[b"a", b"b"], now()));
        assert_eq!((answer.error_code, answer.base_offset), (0, offset), "{codec}");
        assert_eq!(answer.log_append_time_ms, -1);
    }
    assert_eq!(client.fetch("strict", 12).unwrap().len(), 5);
}

#[test]
fn append_times_are_stamped_answered_and_found() {
    let cluster = cluster(1);
    let mut client = Client::to(&cluster);
    client.create(&cluster, "stamped", &[("message.timestamp.type", "LogAppendTime")]);
    let begin = now();
    let answer = client.produce("stamped", &batch(Compression::Lz4, &[b"a", b"b"], 1_000));
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    let stamped = answer.log_append_time_ms;
    assert!((begin..=now()).contains(&stamped), "{stamped}");

    let found = client.fetch("stamped", 12).unwrap();
    let read = RecordBatch::decode(&found[0], 1 << 20).unwrap();
    assert!(read.header().is_log_append_time());
    let times: Vec<_> = read.iter().map(|record| record.unwrap().timestamp.0).collect();
    assert_eq!(times, [stamped, stamped]);
    assert_eq!(client.list_offset("stamped", stamped), (0, stamped));
    assert_eq!(client.list_offset("stamped", stamped + 1), (-1, -1));

    // A retry is answered as its original was.
    let mut once =
        BatchBuilder::new(Compression::None).producer(ProducerId(5), ProducerEpoch(0), 0);
    once.append(Timestamp(1), None, None, &[]);
    let once = once.build().unwrap();
    std::thread::sleep(Duration::from_millis(2));
    let original = client.produce("stamped", &once);
    std::thread::sleep(Duration::from_millis(2));
    let retry = client.produce("stamped", &once);
    assert_eq!((original.error_code, original.base_offset), (0, 2));
    assert!(original.log_append_time_ms > stamped);
    assert_eq!((retry.error_code, retry.base_offset), (0, 2));
    assert_eq!(retry.log_append_time_ms, original.log_append_time_ms);
    let stamped = original.log_append_time_ms;

    // As librdkafka sees it.
    let bootstrap = cluster.bootstrap();
    std::thread::sleep(Duration::from_millis(2));
    send_all(&bootstrap, "stamped", 0, &records(3), &[("enable.idempotence", "true")]);
    let consumer = consumer(&bootstrap, "g", &[]);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("stamped", 0, Position::Offset(3)).unwrap();
    consumer.assign(&assignment).unwrap();
    let message = consumer.poll(PATIENCE).unwrap().unwrap();
    let Time::LogAppendTime(time) = message.timestamp() else {
        panic!("{:?}", message.timestamp())
    };
    assert!((stamped + 1..=now()).contains(&time));
    assert_eq!(client.list_offset("stamped", stamped + 1), (3, time));
}

#[test]
fn a_topic_s_codec_is_that_of_its_batches() {
    let cluster = cluster(1);
    let mut client = Client::to(&cluster);
    let configs = [("compression.type", "zstd"), ("compression.zstd.level", "7")];
    client.create(&cluster, "packed", &configs);
    let value = b"value ".repeat(2_000);
    let mut sent = Vec::new();
    for codec in Compression::ALL {
        let answer = client.produce("packed", &batch(codec, &[&value, b"b"], now()));
        assert_eq!((answer.error_code, answer.base_offset), (0, sent.len() as i64), "{codec}");
        sent.extend([value.clone(), b"b".to_vec()]);
    }
    let mut read = Vec::new();
    for found in client.fetch("packed", 12).unwrap() {
        assert_eq!(BatchHeader::parse(&found).unwrap().codec(), Compression::Zstd.code());
        assert!(found.len() < 200, "{}", found.len());
        let found = RecordBatch::decode(&found, 1 << 20).unwrap();
        for record in &found {
            let record = record.unwrap();
            assert_eq!(record.offset, Offset(read.len() as i64));
            read.push(record.value.unwrap().to_vec());
        }
    }
    assert!(read == sent);
    assert_eq!(client.fetch("packed", 9), Err(UNSUPPORTED_COMPRESSION_TYPE));

    client.create(&cluster, "plain", &[("compression.type", "uncompressed")]);
    let sent = records(50);
    let bootstrap = cluster.bootstrap();
    send_all(&bootstrap, "plain", 0, &sent, &[("compression.type", "lz4")]);
    for found in client.fetch("plain", 12).unwrap() {
        assert_eq!(BatchHeader::parse(&found).unwrap().codec(), 0);
    }
    let got = super::support::read(&bootstrap, "plain", 0, &[]);
    assert!(got.into_iter().map(|(_, record)| record).eq(sent));
}
