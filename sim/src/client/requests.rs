//! The requests of the workloads, spelled out.

use bytes::Bytes;
use kafka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{
    CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
};
use kafka_wire_core::StrBytes;

/// The newest versions that name topics; later ones take ids.
pub(super) const PRODUCE: i16 = 12;
pub(super) const FETCH: i16 = 12;
pub(super) const OFFSETS: i16 = 9;
/// The high watermark.
const LATEST: i64 = -1;

pub(super) fn create_topic(
    name: &str,
    partitions: i32,
    replicas: i16,
    configs: &[(&str, String)],
) -> CreateTopicsRequest {
    let mut topic = CreatableTopic::default();
    topic.name = StrBytes::from(name);
    (topic.num_partitions, topic.replication_factor) = (partitions, replicas);
    for (key, value) in configs {
        let mut config = CreatableTopicConfig::default();
        config.name = StrBytes::from(*key);
        config.value = Some(StrBytes::from(value.as_str()));
        topic.configs.push(config);
    }
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = 5_000;
    request
}

pub(super) fn metadata(topic: &str) -> MetadataRequest {
    let mut wanted = MetadataRequestTopic::default();
    wanted.name = Some(StrBytes::from(topic));
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![wanted]);
    request.allow_auto_topic_creation = false;
    request
}

pub(super) fn producer_id() -> InitProducerIdRequest {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = 60_000;
    (request.producer_id, request.producer_epoch) = (-1, -1);
    request
}

pub(super) fn produce(
    topic: &str,
    partition: i32,
    batch: Bytes,
    timeout_ms: i32,
) -> ProduceRequest {
    let mut data = PartitionProduceData::default();
    data.index = partition;
    data.records = Some(batch);
    let mut wanted = TopicProduceData::default();
    wanted.name = StrBytes::from(topic);
    wanted.partition_data = vec![data];
    let mut request = ProduceRequest::default();
    request.acks = -1;
    request.timeout_ms = timeout_ms;
    request.topic_data = vec![wanted];
    request
}

pub(super) fn fetch(topic: &str, from: &[(i32, i64)], wait_ms: i32) -> FetchRequest {
    let mut wanted = FetchTopic::default();
    wanted.topic = StrBytes::from(topic);
    for (partition, offset) in from {
        let mut one = FetchPartition::default();
        (one.partition, one.fetch_offset) = (*partition, *offset);
        one.partition_max_bytes = 256 << 10;
        wanted.partitions.push(one);
    }
    let mut request = FetchRequest::default();
    (request.max_wait_ms, request.min_bytes, request.max_bytes) = (wait_ms, 1, 4 << 20);
    // No session: every fetch says all.
    (request.session_id, request.session_epoch) = (0, -1);
    request.topics = vec![wanted];
    request
}

pub(super) fn ends(topic: &str, partitions: &[i32]) -> ListOffsetsRequest {
    let mut wanted = ListOffsetsTopic::default();
    wanted.name = StrBytes::from(topic);
    for partition in partitions {
        let mut one = ListOffsetsPartition::default();
        (one.partition_index, one.timestamp, one.current_leader_epoch) = (*partition, LATEST, -1);
        wanted.partitions.push(one);
    }
    let mut request = ListOffsetsRequest::default();
    request.replica_id = -1;
    request.topics = vec![wanted];
    request
}

pub(super) fn coordinator(group: &str) -> FindCoordinatorRequest {
    let mut request = FindCoordinatorRequest::default();
    request.key_type = 0;
    request.coordinator_keys = vec![StrBytes::from(group)];
    request
}

pub(super) fn commit(group: &str, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let mut wanted = OffsetCommitRequestTopic::default();
    wanted.name = StrBytes::from(topic);
    for (partition, offset) in offsets {
        let mut one = OffsetCommitRequestPartition::default();
        (one.partition_index, one.committed_offset) = (*partition, *offset);
        wanted.partitions.push(one);
    }
    let mut request = OffsetCommitRequest::default();
    request.group_id = StrBytes::from(group);
    request.generation_id_or_member_epoch = -1;
    request.topics = vec![wanted];
    request
}

pub(super) fn committed(group: &str, topic: &str, partitions: &[i32]) -> OffsetFetchRequest {
    let mut wanted = OffsetFetchRequestTopics::default();
    wanted.name = StrBytes::from(topic);
    wanted.partition_indexes = partitions.to_vec();
    let mut one = OffsetFetchRequestGroup::default();
    one.group_id = StrBytes::from(group);
    one.topics = Some(vec![wanted]);
    let mut request = OffsetFetchRequest::default();
    request.groups = vec![one];
    request.require_stable = false;
    request
}
