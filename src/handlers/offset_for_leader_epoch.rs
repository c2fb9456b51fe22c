//! OffsetForLeaderEpoch (KIP-101, KIP-320): where a leader epoch ended, so that a consumer can tell
//! whether what it has read still stands.
//!
//! Versions 2–4. An epoch that the log does not know is answered with −1/−1.

use kafka_wire::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use kafka_wire::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::context::{Context, TopicRef};
use super::errors::KafkaCode;
use super::leader_wait;
use crate::model::{LeaderEpoch, PartitionIndex};
use crate::protocol::ErrorCode;

/// Answers from the epochs that each leader's log remembers.
pub(crate) async fn handle(
    ctx: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let partitions = request.topics.iter().flat_map(|topic| {
        let name = TopicRef::Name(topic.topic.clone());
        topic.partitions.iter().map(move |asked| (name.clone(), asked.partition))
    });
    let new = leader_wait::new_ones(ctx, partitions);
    leader_wait::until_ready(new).await;
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in request.topics {
        let name = TopicRef::Name(topic.topic.clone());
        let partitions = topic.partitions.iter().map(|asked| answer(ctx, &name, asked)).collect();
        let mut answered = OffsetForLeaderTopicResult::default();
        answered.topic = topic.topic;
        answered.partitions = partitions;
        response.topics.push(answered);
    }
    response
}

fn answer(ctx: &Context, topic: &TopicRef, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut answer = EpochEndOffset::default();
    answer.partition = asked.partition;
    answer.leader_epoch = -1;
    answer.end_offset = -1;
    match find(ctx, topic, asked) {
        Err(code) => answer.error_code = code.code(),
        Ok(None) => {}
        Ok(Some((epoch, end))) => {
            answer.leader_epoch = epoch.0;
            answer.end_offset = end.0;
        }
    }
    answer
}

fn find(
    ctx: &Context,
    topic: &TopicRef,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, crate::model::Offset)>, ErrorCode> {
    let (_, partition) = ctx.resolve(topic, PartitionIndex(asked.partition))?;
    partition.check_leader(asked.current_leader_epoch).map_err(|error| error.kafka_code())?;
    Ok(partition.epoch_end(LeaderEpoch(asked.leader_epoch)))
}
