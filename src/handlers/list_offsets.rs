//! ListOffsets: the ends of a partition's log, and offsets by time.
//!
//! Versions 1–11. The latest offset is the high watermark: what lies above it may still vanish.
//! Timestamps −1 latest, −2 earliest, −3 the largest timestamp (KIP-734), −4 earliest local
//! (KIP-405; everything here is local); −5 and −6 ask for tiered storage, where there is nothing.

use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_wire::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::context::{Context, TopicRef};
use super::errors::KafkaCode;
use super::leader_wait;
use crate::model::{PartitionIndex, Timestamp};
use crate::partition::{Found, TimestampQuery};
use crate::protocol::ErrorCode;

/// The first version whose clients know of leaders that are not ready (KIP-207).
const OFFSET_NOT_AVAILABLE_SINCE: i16 = 5;
/// The first version whose answers hold leader epochs.
const LEADER_EPOCH_SINCE: i16 = 4;

/// Looks each partition up in turn.
pub(crate) async fn handle(
    ctx: &Context,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let partitions = request.topics.iter().flat_map(|topic| {
        let name = TopicRef::Name(topic.name.clone());
        topic.partitions.iter().map(move |asked| (name.clone(), asked.partition_index))
    });
    let new = leader_wait::new_ones(ctx, partitions);
    leader_wait::until_ready(new).await;
    let mut response = ListOffsetsResponse::default();
    for topic in request.topics {
        let name = TopicRef::Name(topic.name.clone());
        let partitions =
            topic.partitions.iter().map(|asked| answer(ctx, version, &name, asked)).collect();
        let mut answered = ListOffsetsTopicResponse::default();
        answered.name = topic.name;
        answered.partitions = partitions;
        response.topics.push(answered);
    }
    response
}

fn answer(
    ctx: &Context,
    version: i16,
    topic: &TopicRef,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let mut answer = ListOffsetsPartitionResponse::default();
    answer.partition_index = asked.partition_index;
    answer.timestamp = -1;
    answer.offset = -1;
    match find(ctx, topic, asked) {
        Err(ErrorCode::OffsetNotAvailable) if version < OFFSET_NOT_AVAILABLE_SINCE => {
            answer.error_code = ErrorCode::LeaderNotAvailable.code();
        }
        Err(code) => answer.error_code = code.code(),
        Ok(None) => {}
        Ok(Some(found)) => {
            answer.offset = found.offset.0;
            answer.timestamp = found.timestamp.0;
            if version >= LEADER_EPOCH_SINCE {
                answer.leader_epoch = found.epoch.0;
            }
        }
    }
    answer
}

fn find(
    ctx: &Context,
    topic: &TopicRef,
    asked: &ListOffsetsPartition,
) -> Result<Option<Found>, ErrorCode> {
    let query = match asked.timestamp {
        -1 => TimestampQuery::Latest,
        -2 | -4 => TimestampQuery::Earliest,
        -3 => TimestampQuery::Max,
        -5 | -6 => return Ok(None),
        time if time >= 0 => TimestampQuery::At(Timestamp(time)),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let (_, partition) = ctx.resolve(topic, PartitionIndex(asked.partition_index))?;
    partition.list_offset(query, asked.current_leader_epoch).map_err(|error| error.kafka_code())
}
