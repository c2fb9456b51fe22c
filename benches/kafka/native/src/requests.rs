//! Produce requests of one record each over plain sockets: what a broker takes where no client library is in the way.
//!
//! Each connection has one request under way. Its bytes are made once, without a producer id, so that a client costs a system
//! call to send, one or two to receive, and next to nothing else.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use clap::Args;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{
    Decodable as _, Encodable as _, HeaderVersion as _, StrBytes, encode_request_header_into_buffer,
};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rdkafka::consumer::Consumer as _;
use serde::Serialize;

use crate::latencies::{Latencies, Percentiles};
use crate::produce::value;
use crate::target::{PATIENCE, Target};

/// The last version that names topics by name.
const PRODUCE: i16 = 12;
/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// How many requests, by all connections together
    #[arg(long)]
    records: u64,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Connections, each to the leader of one partition
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Who has a record before it is acknowledged: the leader (1) or all replicas (-1)
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    acks: i16,
}

#[derive(Serialize)]
pub(crate) struct Answered {
    records: u64,
    seconds: f64,
    records_s: f64,
    latency_ms: Option<Percentiles>,
}

/// Addresses of the partitions' leaders, in the order of the partitions.
fn leaders(target: &Target) -> Result<Vec<(i32, String)>> {
    let consumer = target.consumer(None)?;
    let metadata = consumer.fetch_metadata(Some(&target.topic), PATIENCE)?;
    let brokers: BTreeMap<i32, String> = metadata
        .brokers()
        .iter()
        .map(|broker| (broker.id(), format!("{}:{}", broker.host(), broker.port())))
        .collect();
    let topic = metadata.topics().first().context("no such topic")?;
    let mut found = topic
        .partitions()
        .iter()
        .map(|partition| {
            let leader =
                brokers.get(&partition.leader()).context("a partition without a leader")?;
            Ok((partition.id(), leader.clone()))
        })
        .collect::<Result<Vec<_>>>()?;
    ensure!(!found.is_empty(), "the topic {} has no partitions", target.topic);
    found.sort_unstable();
    Ok(found)
}

fn batch(size: usize) -> Result<Bytes> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: NO_SEQUENCE,
        timestamp: i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?,
        key: None,
        value: Some(value(size).into()),
        headers: Default::default(),
    };
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, [&record], &options)?;
    Ok(batch.freeze())
}

/// A whole request: length, header, body.
fn frame(options: &Options, partition: i32) -> Result<Bytes> {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch(options.size)?));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(options.target.topic.clone())))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(options.acks)
        .with_timeout_ms(i32::try_from(PATIENCE.as_millis())?)
        .with_topic_data(vec![topic]);
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Produce as i16)
        .with_request_api_version(PRODUCE)
        .with_client_id(Some(StrBytes::from_static_str("native-client")));
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    encode_request_header_into_buffer(&mut frame, &header)?;
    request.encode(&mut frame, PRODUCE)?;
    let length = u32::try_from(frame.len() - 4)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

/// Reads one answer and looks for an error in it.
fn answer(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
    buffer.resize(length, 0);
    socket.read_exact(buffer)?;
    let mut rest = Bytes::copy_from_slice(buffer);
    ResponseHeader::decode(&mut rest, ProduceResponse::header_version(PRODUCE))?;
    let response = ProduceResponse::decode(&mut rest, PRODUCE)?;
    let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
    let error = partition.context("an answer about nothing")?.error_code;
    ensure!(error == 0, "a record was refused: error {error}");
    Ok(())
}

fn ask(socket: &mut TcpStream, frame: &[u8], requests: u64) -> Result<Latencies> {
    let (mut found, mut buffer) = (Latencies::default(), Vec::new());
    for _ in 0..requests {
        let sent = Instant::now();
        socket.write_all(frame)?;
        answer(socket, &mut buffer)?;
        found.add(sent.elapsed());
    }
    Ok(found)
}

/// Writes and measures.
///
/// # Errors
/// A connection fails, or a record was refused.
pub(crate) fn run(options: &Options) -> Result<Answered> {
    ensure!(options.acks != 0, "without acknowledgements there is nothing to wait for");
    let (leaders, connections) = (leaders(&options.target)?, options.connections.max(1));
    let connect = |number: usize| -> Result<(TcpStream, Bytes)> {
        let (partition, leader) = &leaders[number % leaders.len()];
        let socket = TcpStream::connect(leader)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok((socket, frame(options, *partition)?))
    };
    let connected =
        (0..connections).map(connect).collect::<Result<Vec<_>>>().context("connecting")?;
    let begun = Instant::now();
    let found = thread::scope(|scope| {
        let started: Vec<_> = connected
            .into_iter()
            .zip(shares(options.records, connections))
            .map(|((mut socket, frame), share)| {
                scope.spawn(move || ask(&mut socket, &frame, share))
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let latencies = found.into_iter().fold(Latencies::default(), Latencies::and);
    Ok(Answered {
        records: options.records,
        seconds,
        records_s: options.records as f64 / seconds,
        latency_ms: latencies.percentiles(),
    })
}

/// `total` in `parts` that differ by one at most.
pub(crate) fn shares(total: u64, parts: usize) -> impl Iterator<Item = u64> {
    let parts = parts as u64;
    (0..parts).map(move |number| total / parts + u64::from(number < total % parts))
}
