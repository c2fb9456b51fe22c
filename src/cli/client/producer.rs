//! Produces records: batches per partition, one request per leader, retried until the deadline.
//!
//! **Invariant:** a batch is sent again only as it was (same producer id and sequence), so that at
//! `acks=all` no retry makes a duplicate and no partition is reordered.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{ProduceRequest, ProduceResponse};
use kafka_wire_core::StrBytes;
use tokio::time::{Instant, sleep};

use super::cluster::{Client, RETRY_AFTER};
use super::error::{ClientFailure, check};
use super::partitioner::Partitioner;
use super::producer_id::producer_id;
use crate::model::batch_builder::BatchBuilder;
use crate::model::compression::Compression;
use crate::model::{ProducerEpoch, ProducerId, Timestamp};
use crate::protocol::ErrorCode;

/// The newest Produce version that names topics; version 13 takes ids.
const PRODUCE_BY_NAME: i16 = 12;

/// How records are produced.
#[derive(Clone, Debug)]
pub(crate) struct ProducerOptions {
    /// −1 all, 1 the leader, 0 none.
    pub(crate) acks: i16,
    /// Codec of the batches.
    pub(crate) compression: Compression,
    /// One partition for all records instead of one by key.
    pub(crate) partition: Option<i32>,
    /// A batch is closed at this size before compression, bytes.
    pub(crate) batch_bytes: usize,
}

/// Produces to one topic.
pub(crate) struct Producer {
    client: Client,
    topic: String,
    options: ProducerOptions,
    partitioner: Partitioner,
    keyless: i32,
    /// Producer id and epoch at `acks=all`, none otherwise.
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequences: BTreeMap<i32, i32>,
    open: BTreeMap<i32, BatchBuilder>,
    buffered_bytes: usize,
}

/// A batch on its way.
struct Sealed {
    bytes: Bytes,
    records: i32,
}

impl Producer {
    /// A producer to `topic`, which is made if it is not there and the cluster allows that.
    ///
    /// # Errors
    /// The topic or the partition is unknown, or the cluster gives no producer id.
    pub(crate) async fn open(
        mut client: Client,
        topic: &str,
        options: ProducerOptions,
    ) -> Result<Self, ClientFailure> {
        client.refresh(Some(&[topic.to_owned()]), true).await?;
        let count = client.topics.get(topic).map_or(0, |known| known.partitions.len());
        if let Some(partition) = options.partition {
            client.leader(topic, partition).map_err(|_| ClientFailure::Refused {
                what: format!("produce to {topic}-{partition}"),
                code: ErrorCode::UnknownTopicOrPartition.code(),
                detail: Some(format!("the topic has partitions 0 to {}", count.max(1) - 1)),
            })?;
        }
        let mut partitioner = Partitioner::new(count);
        let keyless = partitioner.rotate();
        let mut producer = Self {
            client,
            topic: topic.to_owned(),
            options,
            partitioner,
            keyless,
            identity: None,
            sequences: BTreeMap::new(),
            open: BTreeMap::new(),
            buffered_bytes: 0,
        };
        if producer.options.acks == -1 {
            producer.identity = Some(producer_id(&mut producer.client).await?);
        }
        Ok(producer)
    }

    /// Adds a record to the batch of its partition. `true` when it is time to [`Self::flush`].
    pub(crate) fn append(&mut self, at: Timestamp, key: Option<&[u8]>, value: &[u8]) -> bool {
        let partition = match (self.options.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => self.partitioner.of_key(key),
            (None, None) => self.keyless,
        };
        let batch = self
            .open
            .entry(partition)
            .or_insert_with(|| BatchBuilder::new(self.options.compression));
        let before = batch.size_bytes();
        batch.append(at, key, Some(value), &[]);
        self.buffered_bytes += batch.size_bytes() - before;
        batch.size_bytes() >= self.options.batch_bytes
    }

    /// Sends what was appended and waits until it is acknowledged. Returns the number of records.
    ///
    /// # Errors
    /// A refusal that trying again does not mend, or the deadline passes.
    pub(crate) async fn flush(&mut self) -> Result<u64, ClientFailure> {
        let mut pending: BTreeMap<i32, Sealed> = BTreeMap::new();
        for (partition, builder) in std::mem::take(&mut self.open) {
            pending.insert(partition, self.seal(partition, builder)?);
        }
        self.buffered_bytes = 0;
        self.keyless = self.partitioner.rotate();
        let records = pending.values().map(|batch| batch.records as u64).sum();
        let deadline = self.client.deadline();
        while !pending.is_empty() {
            let Some(failure) = self.send_once(&mut pending, deadline).await else { continue };
            if !failure.is_retriable() || Instant::now() + RETRY_AFTER >= deadline {
                return Err(failure);
            }
            sleep(RETRY_AFTER).await;
            // Failing to learn a new leader is not final either: the next round tries again.
            let topic = std::slice::from_ref(&self.topic);
            if let Err(failure) = self.client.refresh(Some(topic), false).await
                && !failure.is_retriable()
            {
                return Err(failure);
            }
        }
        Ok(records)
    }

    fn seal(&mut self, partition: i32, builder: BatchBuilder) -> Result<Sealed, ClientFailure> {
        let records = builder.count();
        let builder = match self.identity {
            None => builder,
            Some((id, epoch)) => {
                let sequence = self.sequences.entry(partition).or_insert(0);
                let first = *sequence;
                // Sequences wrap from i32::MAX to 0.
                *sequence = ((i64::from(first) + i64::from(records)) & 0x7fff_ffff) as i32;
                builder.producer(id, epoch, first)
            }
        };
        let bytes = builder.build().map_err(|error| ClientFailure::Refused {
            what: format!("compress a batch of {}", self.topic),
            code: ErrorCode::UnknownServerError.code(),
            detail: Some(error.to_string()),
        })?;
        Ok(Sealed { bytes, records })
    }

    /// One round: everything pending to its leader. What was acknowledged leaves `pending`; the
    /// worst failure of the rest comes back.
    async fn send_once(
        &mut self,
        pending: &mut BTreeMap<i32, Sealed>,
        deadline: Instant,
    ) -> Option<ClientFailure> {
        let mut worst: Option<ClientFailure> = None;
        let mut note = |failure: ClientFailure| {
            if worst.as_ref().is_none_or(ClientFailure::is_retriable) {
                worst = Some(failure);
            }
        };
        let mut by_leader: BTreeMap<i32, Vec<PartitionProduceData>> = BTreeMap::new();
        for (partition, batch) in pending.iter() {
            match self.client.leader(&self.topic, *partition) {
                Err(failure) => note(failure),
                Ok(leader) => {
                    let mut data = PartitionProduceData::default();
                    data.index = *partition;
                    data.records = Some(batch.bytes.clone());
                    by_leader.entry(leader).or_default().push(data);
                }
            }
        }
        let requests: Vec<(i32, ProduceRequest)> =
            by_leader.into_iter().map(|(node, data)| (node, self.request(data))).collect();
        if self.options.acks == 0 {
            for (node, request) in requests {
                match self.client.send(node, &request, PRODUCE_BY_NAME).await {
                    Err(failure) => note(failure),
                    Ok(()) => {
                        for data in request.topic_data.iter().flat_map(|t| &t.partition_data) {
                            pending.remove(&data.index);
                        }
                    }
                }
            }
            return worst;
        }
        for (_, answer) in self.client.call_each(requests, PRODUCE_BY_NAME, deadline).await {
            match answer {
                Err(failure) => note(failure),
                Ok(response) => self.take_answers(&response, pending, &mut note),
            }
        }
        worst
    }

    fn take_answers(
        &self,
        response: &ProduceResponse,
        pending: &mut BTreeMap<i32, Sealed>,
        note: &mut impl FnMut(ClientFailure),
    ) {
        for answer in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
            let code = answer.error_code;
            let what = format!("produce to {}-{}", self.topic, answer.index);
            // The batch is in the log already: an earlier answer was lost on its way.
            if code == ErrorCode::DuplicateSequenceNumber.code() {
                pending.remove(&answer.index);
                continue;
            }
            match check(code, what, answer.error_message.as_deref()) {
                Ok(()) => {
                    pending.remove(&answer.index);
                }
                Err(failure) => note(failure),
            }
        }
    }

    fn request(&self, partitions: Vec<PartitionProduceData>) -> ProduceRequest {
        let mut topic = TopicProduceData::default();
        topic.name = StrBytes::from(self.topic.as_str());
        topic.partition_data = partitions;
        let mut request = ProduceRequest::default();
        request.acks = self.options.acks;
        request.timeout_ms = 30_000;
        request.topic_data = vec![topic];
        request
    }
}
