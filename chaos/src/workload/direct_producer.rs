//! An idempotent producer that offers each record to every node until one has taken it: how long it waits
//! is how long the cluster took, with nothing of a client's own time-outs and back-offs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};

use super::connection::Connection;
use crate::history::{Event, Outcome, Recorder, Send};

/// One request to one node: a node that is cut off takes a record and can never commit it.
const TIMEOUT: Duration = Duration::from_millis(250);
/// Between two offers to a node that does not lead.
const PAUSE: Duration = Duration::from_millis(20);
/// Bound on being given a producer id.
const ID_DEADLINE: Duration = Duration::from_secs(30);
/// The last version that names topics by name; the first with flexible encoding came before.
const PRODUCE: i16 = 12;
const INIT_PRODUCER_ID: i16 = 4;

/// See the file's head.
#[derive(Debug)]
pub struct DirectProducer {
    nodes: Vec<SocketAddr>,
    topic: String,
    name: String,
    recorder: Arc<Recorder>,
    id: i64,
    epoch: i16,
    sent: u64,
    /// By partition, the sequence number of the next record.
    sequences: BTreeMap<i32, i32>,
}

/// A record on its way.
struct Offer {
    partition: i32,
    n: u64,
    value: String,
    request: ProduceRequest,
}

impl DirectProducer {
    /// Asks for a producer id.
    ///
    /// # Errors
    /// No node gives one in time.
    pub fn start(
        nodes: Vec<SocketAddr>,
        topic: &str,
        name: &str,
        recorder: Arc<Recorder>,
    ) -> Result<Self> {
        let begin = Instant::now();
        let (id, epoch) = loop {
            let found = nodes.iter().map(|node| producer_id(*node)).find_map(Result::ok);
            if let Some(found) = found {
                break found;
            }
            ensure!(begin.elapsed() < ID_DEADLINE, "no node gave a producer id");
            thread::sleep(PAUSE);
        };
        recorder.record(&Event::Producer { producer: name.to_owned(), idempotent: true });
        let (topic, name) = (topic.to_owned(), name.to_owned());
        Ok(Self { nodes, topic, name, recorder, id, epoch, sent: 0, sequences: BTreeMap::new() })
    }

    /// Writes a record to each of `partitions` at once; gives the longest time until one was
    /// acknowledged.
    ///
    /// # Errors
    /// One is not acknowledged by the deadline, and its outcome is unknown.
    pub fn write(&mut self, partitions: &[i32], deadline: Duration) -> Result<Duration> {
        let offers: Vec<Offer> =
            partitions.iter().map(|partition| self.next(*partition)).collect::<Result<_>>()?;
        let this = &*self;
        let times: Vec<Result<Duration>> = thread::scope(|scope| {
            let writers: Vec<_> = offers
                .iter()
                .map(|offer| scope.spawn(move || this.write_one(offer, deadline)))
                .collect();
            let panicked = |_| Err(anyhow!("a producer's thread panicked"));
            writers.into_iter().map(|writer| writer.join().unwrap_or_else(panicked)).collect()
        });
        times.into_iter().try_fold(Duration::ZERO, |longest, time| Ok(longest.max(time?)))
    }

    fn next(&mut self, partition: i32) -> Result<Offer> {
        let n = self.sent;
        self.sent += 1;
        let sequence = self.sequences.entry(partition).or_default();
        let value = format!("{}-{}-{n}", self.recorder.run(), self.name);
        let batch = batch(self.id, self.epoch, *sequence, &value)?;
        *sequence += 1;
        let request = produce_request(&self.topic, partition, batch);
        Ok(Offer { partition, n, value, request })
    }

    /// Offers a record to all nodes side by side until one acknowledges it.
    fn write_one(&self, offer: &Offer, deadline: Duration) -> Result<Duration> {
        let (begin, begin_us) = (Instant::now(), self.recorder.now_us());
        let done = AtomicBool::new(false);
        let taken = thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for node in &self.nodes {
                let (sender, done) = (sender.clone(), &done);
                scope.spawn(move || {
                    if let Some(offset) = offer_until(done, *node, &offer.request) {
                        // Nobody listens once another node has taken it, or the deadline has passed.
                        let _ = sender.send((offset, self.recorder.now_us(), begin.elapsed()));
                    }
                });
            }
            let taken = receiver.recv_timeout(deadline).ok();
            done.store(true, Ordering::Relaxed);
            taken
        });
        let (outcome, end_us) = match taken {
            Some((offset, end_us, _)) => {
                (Outcome::Ok { partition: offer.partition, offset }, end_us)
            }
            None => (Outcome::Info { error: "timed out".to_owned() }, self.recorder.now_us()),
        };
        self.recorder.record(&Event::Send(Send {
            producer: self.name.clone(),
            n: offer.n,
            value: offer.value.clone(),
            key: String::new(),
            partition: Some(offer.partition),
            begin_us,
            end_us,
            outcome,
        }));
        match taken {
            Some((_, _, time)) => Ok(time),
            None => bail!("partition {} took no write for {deadline:?}", offer.partition),
        }
    }
}

/// Offers a record to one node until it has taken it or `done`; gives its offset.
fn offer_until(done: &AtomicBool, node: SocketAddr, request: &ProduceRequest) -> Option<i64> {
    let mut connection = None;
    while !done.load(Ordering::Relaxed) {
        match offer(&mut connection, node, request) {
            Ok(Some(offset)) => return Some(offset),
            Ok(None) => {}
            Err(_) => connection = None,
        }
        thread::sleep(PAUSE);
    }
    None
}

/// The record's offset; none if the node refuses it for now.
fn offer(
    connection: &mut Option<Connection>,
    node: SocketAddr,
    request: &ProduceRequest,
) -> Result<Option<i64>> {
    let connection = Connection::held(connection, node, TIMEOUT)?;
    let response = connection.call(PRODUCE, request)?;
    let topic = response.responses.first();
    let partition = topic.and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("an answer about nothing")?;
    Ok((partition.error_code == 0).then_some(partition.base_offset))
}

fn producer_id(node: SocketAddr) -> Result<(i64, i16)> {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let response = Connection::to(node, TIMEOUT)?.call(INIT_PRODUCER_ID, &request)?;
    ensure!(response.error_code == 0, "error {}", response.error_code);
    Ok((response.producer_id.0, response.producer_epoch))
}

fn produce_request(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(TIMEOUT.as_millis() as i32)
        .with_topic_data(vec![topic])
}

fn batch(producer_id: i64, producer_epoch: i16, sequence: i32, value: &str) -> Result<Bytes> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence,
        timestamp: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, [&record], &options)?;
    Ok(batch.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::records::RecordBatchDecoder;

    use super::*;

    #[test]
    fn a_batch_carries_the_producer_and_its_sequence() {
        let mut bytes = batch(77, 3, 5, "r-w-0").unwrap();
        let records = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        assert_eq!(records.len(), 1);
        let found = &records[0];
        assert_eq!((found.producer_id, found.producer_epoch, found.sequence), (77, 3, 5));
        assert_eq!(found.value.as_deref(), Some(&b"r-w-0"[..]));
    }
}
