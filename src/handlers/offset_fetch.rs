//! OffsetFetch: positions that a group has committed. Versions 1–10; from 8 on, many groups; from
//! 10 on, topics by id.
//!
//! **Invariant:** a position that was never committed is −1 without an error (v10 by an id that no
//! topic has: UNKNOWN_TOPIC_ID).
//!
//! `require_stable` (v7+) waits for no transaction here: offsets become visible only when they are
//! stored, so every answer is stable. Member ids and epochs (v9+) concern the consumer protocol of
//! KIP-848; for classic groups Kafka ignores them as well.

use std::collections::{BTreeMap, HashMap};

use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_wire::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_wire_core::StrBytes;

use super::GroupCaller;
use super::group_caller::{topic_id, wire, wire_id};
use crate::group::{CommittedOffset, Coordinator, GroupError, OffsetEntry};
use crate::model::PartitionIndex;

/// "Nothing committed", as Kafka writes it.
const NO_OFFSET: i64 = -1;
const NO_EPOCH: i32 = -1;
/// The first version with an error for the group as a whole.
const GROUP_ERROR_SINCE: i16 = 2;

/// Answers an OffsetFetch.
pub async fn handle(
    groups: &Coordinator,
    caller: &GroupCaller,
    body: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    if caller.version >= 8 {
        for group in body.groups {
            response.groups.push(fetch_group(groups, caller.version, group).await);
        }
        return response;
    }
    let mut group = OffsetFetchRequestGroup::default();
    group.group_id = body.group_id;
    group.topics = body.topics.map(|topics| {
        let topic = |topic: kafka_wire::offset_fetch_request::OffsetFetchRequestTopic| {
            let mut newer = OffsetFetchRequestTopics::default();
            newer.name = topic.name;
            newer.partition_indexes = topic.partition_indexes;
            newer
        };
        topics.into_iter().map(topic).collect()
    });
    let answer = fetch_group(groups, caller.version, group).await;
    response.error_code = answer.error_code;
    response.topics = answer.topics.into_iter().map(older_topic).collect();
    response
}

/// Topic name → partition → position.
type Positions = HashMap<std::sync::Arc<str>, BTreeMap<i32, CommittedOffset>>;

async fn fetch_group(
    groups: &Coordinator,
    version: i16,
    request: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let mut response = OffsetFetchResponseGroup::default();
    let fetched = groups.offsets(&request.group_id).await;
    response.group_id = request.group_id;
    response.topics = match (fetched, request.topics) {
        (Ok(offsets), Some(topics)) => {
            let positions = by_topic(offsets);
            let topic = |topic| requested_topic(groups, version, topic, &positions);
            topics.into_iter().map(topic).collect()
        }
        (Ok(offsets), None) => every_topic(groups, version, by_topic(offsets)),
        (Err(error), topics) => {
            response.error_code = error.code();
            // Version 1 has no other place for an error than the partitions. Later ones must not
            // name it there too: librdkafka takes a partition's error for final, and consumes
            // nothing until the next rebalance; the group's error it retries.
            let topics = topics.filter(|_| version < GROUP_ERROR_SINCE).unwrap_or_default();
            topics.into_iter().map(|topic| failed_topic(topic, error)).collect()
        }
    };
    response
}

fn by_topic(offsets: Vec<OffsetEntry>) -> Positions {
    let mut positions = Positions::new();
    for OffsetEntry { partition, committed } in offsets {
        let PartitionIndex(index) = partition.partition;
        positions.entry(partition.topic).or_default().insert(index, committed);
    }
    positions
}

fn requested_topic(
    groups: &Coordinator,
    version: i16,
    topic: OffsetFetchRequestTopics,
    positions: &Positions,
) -> OffsetFetchResponseTopics {
    let name = match version >= 10 {
        true => match groups.topics().topic_name(topic_id(topic.topic_id)) {
            Some(name) => wire(&name),
            None => return failed_topic(topic, GroupError::UnknownTopicId),
        },
        false => topic.name,
    };
    let committed = positions.get(name.as_str());
    let mut answer = OffsetFetchResponseTopics::default();
    let find = |index: &i32| committed.and_then(|partitions| partitions.get(index));
    answer.partitions =
        topic.partition_indexes.iter().map(|index| partition(*index, find(index), 0)).collect();
    answer.name = name;
    answer.topic_id = topic.topic_id;
    answer
}

/// All that is committed. By id (v10), topics that no longer exist cannot be named and are left out.
fn every_topic(
    groups: &Coordinator,
    version: i16,
    positions: Positions,
) -> Vec<OffsetFetchResponseTopics> {
    let mut names: Vec<_> = positions.into_iter().collect();
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut topics = Vec::with_capacity(names.len());
    for (name, partitions) in names {
        let mut topic = OffsetFetchResponseTopics::default();
        if version >= 10 {
            let Some(id) = groups.topics().topic_id(&name) else { continue };
            topic.topic_id = wire_id(id);
        }
        topic.name = wire(&name);
        topic.partitions = partitions
            .iter()
            .map(|(index, committed)| partition(*index, Some(committed), 0))
            .collect();
        topics.push(topic);
    }
    topics
}

fn failed_topic(topic: OffsetFetchRequestTopics, error: GroupError) -> OffsetFetchResponseTopics {
    let mut answer = OffsetFetchResponseTopics::default();
    answer.name = topic.name;
    answer.topic_id = topic.topic_id;
    let indexes = topic.partition_indexes.into_iter();
    answer.partitions = indexes.map(|index| partition(index, None, error.code())).collect();
    answer
}

fn partition(
    index: i32,
    committed: Option<&CommittedOffset>,
    error_code: i16,
) -> OffsetFetchResponsePartitions {
    let mut answer = OffsetFetchResponsePartitions::default();
    answer.partition_index = index;
    answer.committed_offset = committed.map_or(NO_OFFSET, |committed| committed.offset.0);
    answer.committed_leader_epoch =
        committed.map_or(NO_EPOCH, |committed| committed.leader_epoch.0);
    answer.metadata =
        Some(committed.map_or_else(StrBytes::default, |committed| wire(&committed.metadata)));
    answer.error_code = error_code;
    answer
}

fn older_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let mut older = OffsetFetchResponseTopic::default();
    older.name = topic.name;
    let partition = |partition: OffsetFetchResponsePartitions| {
        let mut older = OffsetFetchResponsePartition::default();
        older.partition_index = partition.partition_index;
        older.committed_offset = partition.committed_offset;
        older.committed_leader_epoch = partition.committed_leader_epoch;
        older.metadata = partition.metadata;
        older.error_code = partition.error_code;
        older
    };
    older.partitions = topic.partitions.into_iter().map(partition).collect();
    older
}
