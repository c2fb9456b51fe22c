//! Reads partitions from given positions, from all leaders at once.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::fetch_response::PartitionData;
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsResponse};
use kafka_wire::{FetchRequest, ListOffsetsRequest};
use kafka_wire_core::StrBytes;
use tokio::time::sleep;

use super::cluster::{Client, RETRY_AFTER};
use super::error::{ClientFailure, check};
use super::leaders::{PartitionAnswer, ask_leaders};
use crate::model::records::{RecordBatch, RecordError, batches};
use crate::protocol::ErrorCode;

/// The newest Fetch version that names topics; version 13 takes ids.
pub(crate) const FETCH_BY_NAME: i16 = 12;
/// Bytes asked of one partition in one fetch.
const PARTITION_BYTES: i32 = 1024 * 1024;
/// Bytes asked in one fetch.
const FETCH_BYTES: i32 = 16 * 1024 * 1024;
/// Largest batch when decompressed.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where in a partition to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The first record there is.
    Beginning,
    /// After the last committed record.
    End,
    /// This offset.
    Offset(i64),
    /// The first record of this time or later, ms since 1970.
    Timestamp(i64),
}

/// What a batch of a fetch holds.
pub(crate) struct Fetched {
    /// Partition index.
    pub(crate) partition: i32,
    /// First offset wanted: earlier records of the batch are not.
    pub(crate) from: i64,
    /// The records.
    pub(crate) batch: RecordBatch,
}

/// Reads one topic's partitions.
pub(crate) struct Consumer {
    pub(crate) client: Client,
    topic: String,
    /// Next offset by partition.
    pub(crate) positions: BTreeMap<i32, i64>,
    /// Offset after the last committed record by partition, as the last fetch told.
    pub(crate) ends: BTreeMap<i32, i64>,
}

impl Consumer {
    /// A reader of `topic` without positions yet.
    ///
    /// # Errors
    /// The topic is unknown.
    pub(crate) async fn open(mut client: Client, topic: &str) -> Result<Self, ClientFailure> {
        client.refresh(Some(&[topic.to_owned()]), false).await?;
        let topic = topic.to_owned();
        Ok(Self { client, topic, positions: BTreeMap::new(), ends: BTreeMap::new() })
    }

    /// The topic's partitions.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        let known = self.client.topics.get(&self.topic);
        known.map(|topic| topic.partitions.keys().copied().collect()).unwrap_or_default()
    }

    /// The offsets at which `partitions` stand at `position`. A timestamp after the last record
    /// means the end.
    ///
    /// # Errors
    /// A refusal, or no leader until the deadline.
    pub(crate) async fn offsets(
        &mut self,
        partitions: &[i32],
        position: Position,
    ) -> Result<BTreeMap<i32, i64>, ClientFailure> {
        let timestamp = match position {
            Position::Offset(offset) => {
                return Ok(partitions.iter().map(|partition| (*partition, offset)).collect());
            }
            Position::Beginning => -2,
            Position::End => -1,
            Position::Timestamp(at) => at,
        };
        let mut found = list_offsets(&mut self.client, &self.topic, partitions, timestamp).await?;
        let after: Vec<i32> =
            found.iter().filter(|(_, offset)| **offset < 0).map(|(index, _)| *index).collect();
        if !after.is_empty() {
            found.extend(list_offsets(&mut self.client, &self.topic, &after, -1).await?);
        }
        Ok(found)
    }

    /// Fetches from every leader once, waiting up to `wait_ms` for records, and moves the
    /// positions. Failures that a moment or a new leader mends give an empty answer.
    ///
    /// # Errors
    /// A refusal, a corrupt batch, or no leader until the deadline.
    pub(crate) async fn fetch(&mut self, wait_ms: i32) -> Result<Vec<Fetched>, ClientFailure> {
        if self.positions.is_empty() {
            // A group member without partitions has nothing to ask for until the next rebalance.
            sleep(Duration::from_millis(wait_ms.unsigned_abs().into())).await;
        }
        let mut by_leader: BTreeMap<i32, Vec<FetchPartition>> = BTreeMap::new();
        for (partition, offset) in &self.positions {
            // Without a leader the partition waits for the metadata below.
            if let Ok(leader) = self.client.leader(&self.topic, *partition) {
                let mut wanted = FetchPartition::default();
                wanted.partition = *partition;
                wanted.current_leader_epoch = -1;
                wanted.last_fetched_epoch = -1;
                wanted.log_start_offset = -1;
                wanted.fetch_offset = *offset;
                wanted.partition_max_bytes = PARTITION_BYTES;
                by_leader.entry(leader).or_default().push(wanted);
            }
        }
        let asked: usize = by_leader.values().map(Vec::len).sum();
        let requests: Vec<(i32, FetchRequest)> = by_leader
            .into_iter()
            .map(|(node, wanted)| (node, self.request(wanted, wait_ms)))
            .collect();
        let deadline =
            self.client.deadline() + Duration::from_millis(wait_ms.unsigned_abs().into());
        let mut fetched = Vec::new();
        let mut stale = asked < self.positions.len();
        for (_, answer) in self.client.call_each(requests, FETCH_BY_NAME, deadline).await {
            match answer {
                Err(failure) if failure.is_retriable() => stale = true,
                Err(failure) => return Err(failure),
                Ok(response) => {
                    check(response.error_code, format!("fetch {}", self.topic), None)?;
                    for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
                        stale |= self.take(data, &mut fetched)?;
                    }
                }
            }
        }
        if stale {
            sleep(RETRY_AFTER).await;
            self.client.refresh(Some(std::slice::from_ref(&self.topic)), false).await?;
        }
        Ok(fetched)
    }

    /// Takes a partition's answer; `true` if its leader has to be looked up again.
    fn take(
        &mut self,
        data: PartitionData,
        fetched: &mut Vec<Fetched>,
    ) -> Result<bool, ClientFailure> {
        let partition = data.partition_index;
        let what = format!("fetch {}-{partition}", self.topic);
        if let Err(failure) = check(data.error_code, what.clone(), None) {
            return if failure.is_retriable() { Ok(true) } else { Err(failure) };
        }
        let Some(position) = self.positions.get_mut(&partition) else { return Ok(false) };
        self.ends.insert(partition, data.high_watermark);
        let corrupt = |error: RecordError| ClientFailure::Refused {
            what: what.clone(),
            code: ErrorCode::CorruptMessage.code(),
            detail: Some(error.to_string()),
        };
        for batch in batches(data.records.unwrap_or_default()) {
            let batch = batch.map_err(|error| corrupt(error.into()))?;
            let batch = RecordBatch::decode(&batch, BATCH_BYTES_MAX).map_err(corrupt)?;
            let (from, next) = (*position, batch.header().next_offset().0);
            if next <= from {
                continue;
            }
            *position = next;
            if !batch.header().is_control() {
                fetched.push(Fetched { partition, from, batch });
            }
        }
        Ok(false)
    }

    fn request(&self, partitions: Vec<FetchPartition>, wait_ms: i32) -> FetchRequest {
        let mut topic = FetchTopic::default();
        topic.topic = StrBytes::from(self.topic.as_str());
        topic.partitions = partitions;
        let mut request = FetchRequest::default();
        request.replica_id = -1;
        request.max_wait_ms = wait_ms;
        request.min_bytes = 1;
        request.max_bytes = FETCH_BYTES;
        // No fetch session: id 0, epoch −1.
        (request.session_id, request.session_epoch) = (0, -1);
        request.topics = vec![topic];
        request
    }
}

/// Asks the leaders for offsets by timestamp (−1 latest, −2 earliest), until all have answered.
///
/// # Errors
/// A refusal, or no leader until the deadline.
pub(crate) async fn list_offsets(
    client: &mut Client,
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
) -> Result<BTreeMap<i32, i64>, ClientFailure> {
    let request = |partitions: &[i32], _| offsets_request(topic, partitions, timestamp);
    let answers = |response: ListOffsetsResponse| {
        let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let answer = |partition: ListOffsetsPartitionResponse| PartitionAnswer {
            index: partition.partition_index,
            code: partition.error_code,
            offset: partition.offset,
        };
        partitions.map(answer).collect()
    };
    ask_leaders(client, topic, partitions, ("offsets", 8), request, answers).await
}

fn offsets_request(topic: &str, partitions: &[i32], timestamp: i64) -> ListOffsetsRequest {
    let mut wanted = ListOffsetsTopic::default();
    wanted.name = StrBytes::from(topic);
    for index in partitions {
        let mut partition = ListOffsetsPartition::default();
        partition.partition_index = *index;
        partition.current_leader_epoch = -1;
        partition.timestamp = timestamp;
        wanted.partitions.push(partition);
    }
    let mut request = ListOffsetsRequest::default();
    request.replica_id = -1;
    request.topics = vec![wanted];
    request
}
