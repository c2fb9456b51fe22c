//! Deletes the oldest records of partitions, by their leaders.

use std::collections::BTreeMap;

use kafka_wire::DeleteRecordsRequest;
use kafka_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsResponse};
use kafka_wire_core::StrBytes;

use super::leaders::{PartitionAnswer, ask_leaders};
use super::{Client, ClientFailure};

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
    let indexes: Vec<i32> = offsets.keys().copied().collect();
    let request = |partitions: &[i32], left_ms| {
        let wanted = partitions.iter().filter_map(|index| Some((*index, *offsets.get(index)?)));
        request(topic, wanted, left_ms)
    };
    let answers = |response: DeleteRecordsResponse| {
        let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let answer = |partition: DeleteRecordsPartitionResult| PartitionAnswer {
            index: partition.partition_index,
            code: partition.error_code,
            offset: partition.low_watermark,
        };
        partitions.map(answer).collect()
    };
    ask_leaders(client, topic, &indexes, ("delete records", 2), request, answers).await
}

fn request(
    topic: &str,
    partitions: impl Iterator<Item = (i32, i64)>,
    timeout_ms: i32,
) -> DeleteRecordsRequest {
    let mut wanted = DeleteRecordsTopic::default();
    wanted.name = StrBytes::from(topic);
    for (index, offset) in partitions {
        let mut partition = DeleteRecordsPartition::default();
        (partition.partition_index, partition.offset) = (index, offset);
        wanted.partitions.push(partition);
    }
    let mut request = DeleteRecordsRequest::default();
    request.topics = vec![wanted];
    request.timeout_ms = timeout_ms;
    request
}
