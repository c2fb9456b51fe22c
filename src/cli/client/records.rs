//! Deletes the oldest records of partitions, by their leaders.

use std::collections::BTreeMap;

use kafka_wire::DeleteRecordsRequest;
use kafka_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire_core::StrBytes;
use tokio::time::{Instant, sleep};

use super::cluster::RETRY_AFTER;
use super::{Client, ClientFailure, check};

/// Deletes the records below `offsets` (−1: all that are committed) in each partition; where each one
/// begins now.
///
/// # Errors
/// A refusal, or no leader until the deadline.
pub(crate) async fn delete_records(
    client: &mut Client,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, ClientFailure> {
    let deadline = client.deadline();
    let mut starts = BTreeMap::new();
    loop {
        let mut failure = None;
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (index, offset) in offsets.iter().filter(|(index, _)| !starts.contains_key(*index)) {
            match client.leader(topic, *index) {
                Ok(leader) => by_leader.entry(leader).or_default().push((*index, *offset)),
                Err(error) => failure = Some(error),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let requests = by_leader
            .into_iter()
            .map(|(node, partitions)| (node, request(topic, &partitions, timeout_ms)))
            .collect();
        for (_, answer) in client.call_each(requests, 2, deadline).await {
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let index = answer.partition_index;
                match check(answer.error_code, format!("delete records of {topic}-{index}"), None) {
                    Ok(()) => {
                        starts.insert(index, answer.low_watermark);
                    }
                    Err(error) => failure = Some(error),
                }
            }
        }
        let Some(failure) = failure else { return Ok(starts) };
        if !failure.is_retriable() || Instant::now() + RETRY_AFTER >= deadline {
            return Err(failure);
        }
        sleep(RETRY_AFTER).await;
        client.look(Some(&[topic.to_owned()])).await?;
    }
}

fn request(topic: &str, partitions: &[(i32, i64)], timeout_ms: i32) -> DeleteRecordsRequest {
    let mut wanted = DeleteRecordsTopic::default();
    wanted.name = StrBytes::from(topic);
    for (index, offset) in partitions {
        let mut partition = DeleteRecordsPartition::default();
        (partition.partition_index, partition.offset) = (*index, *offset);
        wanted.partitions.push(partition);
    }
    let mut request = DeleteRecordsRequest::default();
    request.topics = vec![wanted];
    request.timeout_ms = timeout_ms;
    request
}
