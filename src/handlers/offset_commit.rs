//! OffsetCommit: positions of a group. Versions 2–10; from 10 on, topics by id.
//!
//! Answers when the positions are stored by a quorum.

use std::sync::Arc;

use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_wire::{OffsetCommitRequest, OffsetCommitResponse};

use super::GroupCaller;
use super::group_caller::{owned, owned_option, topic_id};
use crate::group::{CommitItem, CommitRequest, Coordinator, GroupError, MemberClaim};
use crate::model::{LeaderEpoch, Offset, PartitionIndex, TopicPartition};

/// Answers an OffsetCommit.
pub async fn handle(
    groups: &Coordinator,
    caller: &GroupCaller,
    body: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let by_id = caller.version >= 10;
    let names: Vec<Option<Arc<str>>> = body
        .topics
        .iter()
        .map(|topic| match by_id {
            true => groups.topics().topic_name(topic_id(topic.topic_id)),
            false => Some(owned(&topic.name)),
        })
        .collect();
    let request = CommitRequest {
        claim: MemberClaim {
            member_id: owned(&body.member_id),
            instance_id: owned_option(body.group_instance_id.as_ref()),
            generation: body.generation_id_or_member_epoch,
        },
        names_unknown_group: caller.version >= 9,
        items: items(&body.topics, &names),
    };
    let count = request.items.len();
    let mut outcomes = match groups.commit(&body.group_id, request).await {
        Ok(outcomes) => outcomes,
        Err(error) => vec![Err(error); count],
    }
    .into_iter();
    let topics = body.topics.into_iter().zip(names);
    let mut response = OffsetCommitResponse::default();
    response.topics = topics
        .map(|(topic, name)| {
            let mut answer = OffsetCommitResponseTopic::default();
            let code = |_: &OffsetCommitRequestPartition| match &name {
                // One outcome per item, and items are in the order of the named topics.
                Some(_) => outcomes.next().map_or(0, |outcome| GroupError::code_of(&outcome)),
                None => GroupError::UnknownTopicId.code(),
            };
            answer.partitions = partitions(&topic, code);
            answer.name = topic.name;
            answer.topic_id = topic.topic_id;
            answer
        })
        .collect();
    response
}

fn items(topics: &[OffsetCommitRequestTopic], names: &[Option<Arc<str>>]) -> Vec<CommitItem> {
    let mut items = Vec::new();
    for (topic, name) in topics.iter().zip(names) {
        let Some(name) = name else { continue };
        items.extend(
            topic.partitions.iter().map(|partition| CommitItem {
                partition: TopicPartition::new(
                    name.clone(),
                    PartitionIndex(partition.partition_index),
                ),
                offset: Offset(partition.committed_offset),
                leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                metadata: owned_option(partition.committed_metadata.as_ref())
                    .unwrap_or_else(|| Arc::from("")),
            }),
        );
    }
    items
}

fn partitions(
    topic: &OffsetCommitRequestTopic,
    mut code: impl FnMut(&OffsetCommitRequestPartition) -> i16,
) -> Vec<OffsetCommitResponsePartition> {
    let answer = |partition: &OffsetCommitRequestPartition| {
        let mut answer = OffsetCommitResponsePartition::default();
        answer.partition_index = partition.partition_index;
        answer.error_code = code(partition);
        answer
    };
    topic.partitions.iter().map(answer).collect()
}
