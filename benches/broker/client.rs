//! A blocking client that does as little as it can.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use jackdaw::model::Timestamp;
use jackdaw::model::batch_builder::BatchBuilder;
use jackdaw::model::compression::Compression;
use jackdaw::model::record_batch::BatchHeader;
use jackdaw::model::records::batches;
use jackdaw::protocol::client::{decode_response, encode_request};
use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{CreateTopicsRequest, FetchRequest, ProduceRequest, RequestResponsePair};
use kafka_wire_core::StrBytes;

pub(crate) const TOPIC: &str = "bench";
/// What one fetch asks for.
pub(crate) const FETCH: usize = 1 << 20;

pub(crate) struct Client {
    stream: TcpStream,
    id: i32,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, id: 0 }
    }

    pub(crate) fn create_topic(&mut self) {
        let mut topic = CreatableTopic::default();
        topic.name = StrBytes::from(TOPIC);
        topic.num_partitions = 1;
        topic.replication_factor = 1;
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = 30_000;
        self.send(&request, 5);
        let answer = self.receive::<CreateTopicsRequest>(5);
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
        // The partition has a leader a moment later.
        loop {
            self.ask(0);
            let answer = self.receive::<FetchRequest>(4);
            if answer.responses[0].partitions[0].error_code == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Produces `count` batches of about `batch_bytes`, 4 MiB of them at a time; the
    /// records in each.
    pub(crate) fn produce(&mut self, count: usize, batch_bytes: usize) -> i64 {
        let pipelined = (4 << 20) / batch_bytes;
        let (request, records) = produce(batch_bytes);
        let mut sent = 0;
        for answered in 0..count {
            while sent < count.min(answered + pipelined) {
                self.send(&request, 9);
                sent += 1;
            }
            self.id -= (sent - answered - 1) as i32;
            let answer = self.receive::<ProduceRequest>(9);
            self.id += (sent - answered - 1) as i32;
            let code = answer.responses[0].partition_responses[0].error_code;
            assert_eq!(code, 0, "{answer:?}");
        }
        records
    }

    /// Asks for the records from `offset` on.
    pub(crate) fn ask(&mut self, offset: i64) {
        let mut partition = FetchPartition::default();
        partition.fetch_offset = offset;
        partition.partition_max_bytes = FETCH as i32;
        let mut topic = FetchTopic::default();
        topic.topic = StrBytes::from(TOPIC);
        topic.partitions = vec![partition];
        let mut request = FetchRequest::default();
        request.max_wait_ms = 1_000;
        request.min_bytes = 1;
        request.max_bytes = i32::MAX;
        request.topics = vec![topic];
        self.send(&request, 4);
    }

    /// Reads a whole response into `buffer` without a look at it; its bytes, without their length. Does
    /// not sleep meanwhile: to be woken would be the sender's work, once per response or per segment as
    /// it happens.
    pub(crate) fn take(&mut self, buffer: &mut Vec<u8>) -> usize {
        let mut length = [0; 4];
        self.stream.set_nonblocking(true).unwrap();
        self.fill(&mut length);
        let length = i32::from_be_bytes(length) as usize;
        buffer.resize(buffer.len().max(length), 0);
        self.fill(&mut buffer[..length]);
        self.stream.set_nonblocking(false).unwrap();
        length
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        let mut have = 0;
        while have < buffer.len() {
            match self.stream.read(&mut buffer[have..]) {
                Ok(0) => panic!("the connection was closed"),
                Ok(count) => have += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The bytes of the records asked for, and the offset after them.
    pub(crate) fn records(&mut self, offset: i64) -> (usize, i64) {
        let answer = self.receive::<FetchRequest>(4);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let records = partition.records.clone().unwrap_or_default();
        let last = batches(records.clone()).last().map(|batch| batch.unwrap());
        let next = last.map_or(offset, |batch| BatchHeader::parse(&batch).unwrap().next_offset().0);
        (records.len(), next)
    }

    /// Reads some of what comes, at most `buffer`; how much.
    pub(crate) fn sip(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    fn send<Req: RequestResponsePair>(&mut self, request: &Req, version: i16) {
        self.id += 1;
        let frame = encode_request(request, version, self.id, "bench").unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    fn receive<Req: RequestResponsePair>(&mut self, version: i16) -> Req::Response {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        decode_response::<Req>(Bytes::from(frame), version, self.id).unwrap()
    }
}

fn produce(batch_bytes: usize) -> (ProduceRequest, i64) {
    let mut records = 0;
    let mut builder = BatchBuilder::new(Compression::None);
    let value = vec![b'v'; 1_000];
    while builder.size_bytes() + 1_100 < batch_bytes - 1_000 {
        builder.append(Timestamp(1), None, Some(&value), &[]);
        records += 1;
    }
    let mut partition = PartitionProduceData::default();
    partition.records = Some(builder.build().unwrap());
    let mut topic = TopicProduceData::default();
    topic.name = StrBytes::from(TOPIC);
    topic.partition_data = vec![partition];
    let mut request = ProduceRequest::default();
    request.acks = -1;
    request.timeout_ms = 30_000;
    request.topic_data = vec![topic];
    (request, records)
}
