//! DeleteRecords: the leader moves a partition's log start offset. Versions 0–2.
//!
//! Offset −1 stands for the high watermark. The answer's low watermark is the log start offset, which
//! is the same on every replica once the deletion is committed.
//!
//! **Invariant:** an answer without an error comes after a majority has the deletion on disk: no later
//! leader serves what was deleted.

use std::time::Duration;

use futures_util::future::join_all;
use kafka_wire::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use tokio::time::{Instant, timeout_at};

use super::context::{Context, TopicRef};
use super::errors::KafkaCode;
use crate::model::{Offset, PartitionIndex};
use crate::protocol::ErrorCode;

/// Asks for everything that is committed.
const HIGH_WATERMARK: i64 = -1;

/// Deletes in all partitions at the same time.
pub(crate) async fn handle(ctx: &Context, body: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let wait = Duration::from_millis(u64::try_from(body.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + wait;
    let mut response = DeleteRecordsResponse::default();
    response.topics =
        join_all(body.topics.into_iter().map(|asked| topic(ctx, asked, deadline))).await;
    response
}

async fn topic(
    ctx: &Context,
    asked: DeleteRecordsTopic,
    deadline: Instant,
) -> DeleteRecordsTopicResult {
    let name = TopicRef::Name(asked.name.clone());
    let partitions = asked.partitions.iter().map(|asked| partition(ctx, &name, asked, deadline));
    let mut answered = DeleteRecordsTopicResult::default();
    answered.partitions = join_all(partitions).await;
    answered.name = asked.name;
    answered
}

async fn partition(
    ctx: &Context,
    topic: &TopicRef,
    asked: &DeleteRecordsPartition,
    deadline: Instant,
) -> DeleteRecordsPartitionResult {
    let mut answer = DeleteRecordsPartitionResult::default();
    answer.partition_index = asked.partition_index;
    answer.low_watermark = -1;
    match timeout_at(deadline, delete(ctx, topic, asked)).await {
        Ok(Ok(start)) => answer.low_watermark = start.0,
        Ok(Err(code)) => answer.error_code = code.code(),
        Err(_) => answer.error_code = ErrorCode::RequestTimedOut.code(),
    }
    answer
}

async fn delete(
    ctx: &Context,
    topic: &TopicRef,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    let (_, partition) = ctx.resolve(topic, PartitionIndex(asked.partition_index))?;
    if !partition.retention().delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    partition.until_ready().await;
    partition.delete_records(before).await.map_err(|error| error.kafka_code())
}
