//! Messages filled from a seed, for every API on offer and every version.
//!
//! Every field is filled; what a version cannot express is learnt from the encoder's refusals and
//! left at its default.
#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_wire::KafkaMessage;
use kafka_wire_core::{ApiVersion, EncodeError, StrBytes, TaggedField, TaggedFields, Uuid};

/// Draws values (splitmix64, so that golden bytes do not hang on a library's generator).
pub(crate) struct Gen {
    state: u64,
    /// Fewest elements of an array.
    elements_min: u64,
    is_flexible: bool,
    /// Fields, as (struct, field), that keep their default.
    absent: BTreeSet<(String, String)>,
    /// Fields that must not be null.
    present: BTreeSet<(String, String)>,
}

type At = (&'static str, &'static str);

impl Gen {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.below(12);
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// A field's name however it is spelt: `node_endpoints` here, `NodeEndpoints` in errors.
fn plain((structure, field): At) -> (String, String) {
    (structure.to_owned(), field.replace('_', "").to_lowercase())
}

/// Fills a message of `version` so that it can be encoded.
pub(crate) fn message<M: KafkaMessage + Fill>(seed: u64, elements_min: u64, version: i16) -> M {
    let version = ApiVersion::new(version);
    let (mut absent, mut present) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let mut draw = Gen {
            state: seed,
            elements_min,
            is_flexible: M::is_flexible(version),
            absent: absent.clone(),
            present: present.clone(),
        };
        let filled = M::fill(&mut draw, (M::NAME, ""));
        let is_new = match filled.encode_to_bytes(version) {
            Ok(_) => return filled,
            Err(EncodeError::FieldNotRepresentable { message, field, .. }) => {
                absent.insert(plain((message, field)))
            }
            Err(EncodeError::NullNotAllowed { message, field, .. }) => {
                present.insert(plain((message, field)))
            }
            Err(error) => panic!("{} v{version}: {error}", M::NAME),
        };
        assert!(is_new, "{} v{version} refuses a field twice: {absent:?} {present:?}", M::NAME);
    }
}

/// A type that can be filled.
pub(crate) trait Fill: Sized {
    fn fill(draw: &mut Gen, at: At) -> Self;
}

macro_rules! fill_numbers {
    ($($number:ty)*) => {
        $(impl Fill for $number {
            fn fill(draw: &mut Gen, _: At) -> Self {
                // Small values and sentinels as often as any others.
                match draw.below(3) {
                    0 => draw.below(3) as $number,
                    1 => <$number>::MAX,
                    _ => draw.next() as $number,
                }
            }
        })*
    };
}
fill_numbers!(i8 i16 i32 i64 u16 u32);

impl Fill for bool {
    fn fill(draw: &mut Gen, _: At) -> Self {
        draw.below(2) == 1
    }
}

impl Fill for Uuid {
    fn fill(draw: &mut Gen, _: At) -> Self {
        let bits = (u128::from(draw.next()) << 64) | u128::from(draw.next());
        Self::from_bytes(bits.to_be_bytes())
    }
}

impl Fill for StrBytes {
    fn fill(draw: &mut Gen, _: At) -> Self {
        let text: String = draw.bytes().iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        Self::from(if draw.below(8) == 0 { text + "ü" } else { text })
    }
}

impl Fill for Bytes {
    fn fill(draw: &mut Gen, _: At) -> Self {
        Self::from(draw.bytes())
    }
}

impl Fill for TaggedFields {
    fn fill(draw: &mut Gen, _: At) -> Self {
        let mut fields = Vec::new();
        if draw.is_flexible && draw.below(4) == 0 {
            fields.push(TaggedField::new(900, Bytes::from(draw.bytes())));
        }
        Self::from_sorted(fields).unwrap()
    }
}

impl<T: Fill> Fill for Option<T> {
    fn fill(draw: &mut Gen, at: At) -> Self {
        let is_null = draw.below(4) == 0 && !draw.present.contains(&plain(at));
        if is_null { None } else { Some(T::fill(draw, at)) }
    }
}

impl<T: Fill> Fill for Vec<T> {
    fn fill(draw: &mut Gen, at: At) -> Self {
        let count = draw.elements_min + draw.below(3);
        (0..count).map(|_| T::fill(draw, at)).collect()
    }
}

macro_rules! fill {
    ($($module:ident $($name:ident { $($field:ident)* })*;)*) => {
        $($(impl Fill for kafka_wire::$module::$name {
            fn fill(draw: &mut Gen, _: At) -> Self {
                let mut filled = Self::default();
                $(
                    let at = (stringify!($name), stringify!($field));
                    if !draw.absent.contains(&plain(at)) {
                        filled.$field = Fill::fill(draw, at);
                    }
                )*
                filled
            }
        })*)*
    };
}

fill! {
    produce_request
        TopicProduceData { name topic_id partition_data unknown_tagged_fields }
        PartitionProduceData { index records unknown_tagged_fields }
        ProduceRequest { transactional_id acks timeout_ms topic_data unknown_tagged_fields };
    produce_response
        TopicProduceResponse { name topic_id partition_responses unknown_tagged_fields }
        PartitionProduceResponse {
            index error_code base_offset log_append_time_ms log_start_offset record_errors
            error_message current_leader unknown_tagged_fields
        }
        BatchIndexAndErrorMessage { batch_index batch_index_error_message unknown_tagged_fields }
        LeaderIdAndEpoch { leader_id leader_epoch unknown_tagged_fields }
        NodeEndpoint { node_id host port rack unknown_tagged_fields }
        ProduceResponse { responses throttle_time_ms node_endpoints unknown_tagged_fields };
    fetch_request
        ReplicaState { replica_id replica_epoch unknown_tagged_fields }
        FetchTopic { topic topic_id partitions unknown_tagged_fields }
        FetchPartition {
            partition current_leader_epoch fetch_offset last_fetched_epoch log_start_offset
            partition_max_bytes replica_directory_id high_watermark unknown_tagged_fields
        }
        ForgottenTopic { topic topic_id partitions unknown_tagged_fields }
        FetchRequest {
            cluster_id replica_id replica_state max_wait_ms min_bytes max_bytes isolation_level
            session_id session_epoch topics forgotten_topics_data rack_id unknown_tagged_fields
        };
    fetch_response
        FetchableTopicResponse { topic topic_id partitions unknown_tagged_fields }
        PartitionData {
            partition_index error_code high_watermark last_stable_offset log_start_offset
            diverging_epoch current_leader snapshot_id aborted_transactions preferred_read_replica
            records unknown_tagged_fields
        }
        EpochEndOffset { epoch end_offset unknown_tagged_fields }
        LeaderIdAndEpoch { leader_id leader_epoch unknown_tagged_fields }
        SnapshotId { end_offset epoch unknown_tagged_fields }
        AbortedTransaction { producer_id first_offset unknown_tagged_fields }
        NodeEndpoint { node_id host port rack unknown_tagged_fields }
        FetchResponse {
            throttle_time_ms error_code session_id responses node_endpoints unknown_tagged_fields
        };
    list_offsets_request
        ListOffsetsTopic { name partitions unknown_tagged_fields }
        ListOffsetsPartition {
            partition_index current_leader_epoch timestamp unknown_tagged_fields
        }
        ListOffsetsRequest { replica_id isolation_level topics timeout_ms unknown_tagged_fields };
    list_offsets_response
        ListOffsetsTopicResponse { name partitions unknown_tagged_fields }
        ListOffsetsPartitionResponse {
            partition_index error_code timestamp offset leader_epoch unknown_tagged_fields
        }
        ListOffsetsResponse { throttle_time_ms topics unknown_tagged_fields };
    metadata_request
        MetadataRequestTopic { topic_id name unknown_tagged_fields }
        MetadataRequest {
            topics allow_auto_topic_creation include_cluster_authorized_operations
            include_topic_authorized_operations unknown_tagged_fields
        };
    metadata_response
        MetadataResponseBroker { node_id host port rack unknown_tagged_fields }
        MetadataResponseTopic {
            error_code name topic_id is_internal partitions topic_authorized_operations
            unknown_tagged_fields
        }
        MetadataResponsePartition {
            error_code partition_index leader_id leader_epoch replica_nodes isr_nodes
            offline_replicas unknown_tagged_fields
        }
        MetadataResponse {
            throttle_time_ms brokers cluster_id controller_id topics cluster_authorized_operations
            error_code unknown_tagged_fields
        };
    offset_commit_request
        OffsetCommitRequestTopic { name topic_id partitions unknown_tagged_fields }
        OffsetCommitRequestPartition {
            partition_index committed_offset committed_leader_epoch committed_metadata
            unknown_tagged_fields
        }
        OffsetCommitRequest {
            group_id generation_id_or_member_epoch member_id group_instance_id retention_time_ms
            topics unknown_tagged_fields
        };
    offset_commit_response
        OffsetCommitResponseTopic { name topic_id partitions unknown_tagged_fields }
        OffsetCommitResponsePartition { partition_index error_code unknown_tagged_fields }
        OffsetCommitResponse { throttle_time_ms topics unknown_tagged_fields };
    offset_fetch_request
        OffsetFetchRequestTopic { name partition_indexes unknown_tagged_fields }
        OffsetFetchRequestGroup { group_id member_id member_epoch topics unknown_tagged_fields }
        OffsetFetchRequestTopics { name topic_id partition_indexes unknown_tagged_fields }
        OffsetFetchRequest { group_id topics groups require_stable unknown_tagged_fields };
    offset_fetch_response
        OffsetFetchResponseTopic { name partitions unknown_tagged_fields }
        OffsetFetchResponsePartition {
            partition_index committed_offset committed_leader_epoch metadata error_code
            unknown_tagged_fields
        }
        OffsetFetchResponseGroup { group_id topics error_code unknown_tagged_fields }
        OffsetFetchResponseTopics { name topic_id partitions unknown_tagged_fields }
        OffsetFetchResponsePartitions {
            partition_index committed_offset committed_leader_epoch metadata error_code
            unknown_tagged_fields
        }
        OffsetFetchResponse { throttle_time_ms topics error_code groups unknown_tagged_fields };
    find_coordinator_request
        FindCoordinatorRequest { key key_type coordinator_keys unknown_tagged_fields };
    find_coordinator_response
        Coordinator { key node_id host port error_code error_message unknown_tagged_fields }
        FindCoordinatorResponse {
            throttle_time_ms error_code error_message node_id host port coordinators
            unknown_tagged_fields
        };
    join_group_request
        JoinGroupRequestProtocol { name metadata unknown_tagged_fields }
        JoinGroupRequest {
            group_id session_timeout_ms rebalance_timeout_ms member_id group_instance_id
            protocol_type protocols reason unknown_tagged_fields
        };
    join_group_response
        JoinGroupResponseMember { member_id group_instance_id metadata unknown_tagged_fields }
        JoinGroupResponse {
            throttle_time_ms error_code generation_id protocol_type protocol_name leader
            skip_assignment member_id members unknown_tagged_fields
        };
    heartbeat_request
        HeartbeatRequest {
            group_id generation_id member_id group_instance_id unknown_tagged_fields
        };
    heartbeat_response
        HeartbeatResponse { throttle_time_ms error_code unknown_tagged_fields };
    leave_group_request
        MemberIdentity { member_id group_instance_id reason unknown_tagged_fields }
        LeaveGroupRequest { group_id member_id members unknown_tagged_fields };
    leave_group_response
        MemberResponse { member_id group_instance_id error_code unknown_tagged_fields }
        LeaveGroupResponse { throttle_time_ms error_code members unknown_tagged_fields };
    sync_group_request
        SyncGroupRequestAssignment { member_id assignment unknown_tagged_fields }
        SyncGroupRequest {
            group_id generation_id member_id group_instance_id protocol_type protocol_name
            assignments unknown_tagged_fields
        };
    sync_group_response
        SyncGroupResponse {
            throttle_time_ms error_code protocol_type protocol_name assignment unknown_tagged_fields
        };
    describe_groups_request
        DescribeGroupsRequest { groups include_authorized_operations unknown_tagged_fields };
    describe_groups_response
        DescribedGroup {
            error_code error_message group_id group_state protocol_type protocol_data members
            authorized_operations unknown_tagged_fields
        }
        DescribedGroupMember {
            member_id group_instance_id client_id client_host member_metadata member_assignment
            unknown_tagged_fields
        }
        DescribeGroupsResponse { throttle_time_ms groups unknown_tagged_fields };
    list_groups_request
        ListGroupsRequest { states_filter types_filter unknown_tagged_fields };
    list_groups_response
        ListedGroup { group_id protocol_type group_state group_type unknown_tagged_fields }
        ListGroupsResponse { throttle_time_ms error_code groups unknown_tagged_fields };
    api_versions_request
        ApiVersionsRequest {
            client_software_name client_software_version cluster_id node_id unknown_tagged_fields
        };
    api_versions_response
        ApiVersion { api_key min_version max_version unknown_tagged_fields }
        SupportedFeatureKey { name min_version max_version unknown_tagged_fields }
        FinalizedFeatureKey { name max_version_level min_version_level unknown_tagged_fields }
        ApiVersionsResponse {
            error_code api_keys throttle_time_ms supported_features finalized_features_epoch
            finalized_features zk_migration_ready unknown_tagged_fields
        };
    create_topics_request
        CreatableTopic {
            name num_partitions replication_factor assignments configs unknown_tagged_fields
        }
        CreatableReplicaAssignment { partition_index broker_ids unknown_tagged_fields }
        CreatableTopicConfig { name value unknown_tagged_fields }
        CreateTopicsRequest { topics timeout_ms validate_only unknown_tagged_fields };
    create_topics_response
        CreatableTopicResult {
            name topic_id error_code error_message topic_config_error_code num_partitions
            replication_factor configs unknown_tagged_fields
        }
        CreatableTopicConfigs {
            name value read_only config_source is_sensitive unknown_tagged_fields
        }
        CreateTopicsResponse { throttle_time_ms topics unknown_tagged_fields };
    delete_topics_request
        DeleteTopicState { name topic_id unknown_tagged_fields }
        DeleteTopicsRequest { topics topic_names timeout_ms unknown_tagged_fields };
    delete_topics_response
        DeletableTopicResult { name topic_id error_code error_message unknown_tagged_fields }
        DeleteTopicsResponse { throttle_time_ms responses unknown_tagged_fields };
    init_producer_id_request
        InitProducerIdRequest {
            transactional_id transaction_timeout_ms producer_id producer_epoch enable2_pc
            keep_prepared_txn unknown_tagged_fields
        };
    init_producer_id_response
        InitProducerIdResponse {
            throttle_time_ms error_code producer_id producer_epoch ongoing_txn_producer_id
            ongoing_txn_producer_epoch unknown_tagged_fields
        };
    offset_for_leader_epoch_request
        OffsetForLeaderTopic { topic partitions unknown_tagged_fields }
        OffsetForLeaderPartition {
            partition current_leader_epoch leader_epoch unknown_tagged_fields
        }
        OffsetForLeaderEpochRequest { replica_id topics unknown_tagged_fields };
    offset_for_leader_epoch_response
        OffsetForLeaderTopicResult { topic partitions unknown_tagged_fields }
        EpochEndOffset { error_code partition leader_epoch end_offset unknown_tagged_fields }
        OffsetForLeaderEpochResponse { throttle_time_ms topics unknown_tagged_fields };
    describe_configs_request
        DescribeConfigsResource {
            resource_type resource_name configuration_keys unknown_tagged_fields
        }
        DescribeConfigsRequest {
            resources include_synonyms include_documentation unknown_tagged_fields
        };
    describe_configs_response
        DescribeConfigsResult {
            error_code error_message resource_type resource_name configs unknown_tagged_fields
        }
        DescribeConfigsResourceResult {
            name value read_only config_source is_sensitive synonyms config_type documentation
            unknown_tagged_fields
        }
        DescribeConfigsSynonym { name value source unknown_tagged_fields }
        DescribeConfigsResponse { throttle_time_ms results unknown_tagged_fields };
    delete_records_request
        DeleteRecordsTopic { name partitions unknown_tagged_fields }
        DeleteRecordsPartition { partition_index offset unknown_tagged_fields }
        DeleteRecordsRequest { topics timeout_ms unknown_tagged_fields };
    delete_records_response
        DeleteRecordsTopicResult { name partitions unknown_tagged_fields }
        DeleteRecordsPartitionResult {
            partition_index low_watermark error_code unknown_tagged_fields
        }
        DeleteRecordsResponse { throttle_time_ms topics unknown_tagged_fields };
    create_partitions_request
        CreatePartitionsTopic { name count assignments unknown_tagged_fields }
        CreatePartitionsAssignment { broker_ids unknown_tagged_fields }
        CreatePartitionsRequest { topics timeout_ms validate_only unknown_tagged_fields };
    create_partitions_response
        CreatePartitionsTopicResult { name error_code error_message unknown_tagged_fields }
        CreatePartitionsResponse { throttle_time_ms results unknown_tagged_fields };
    elect_leaders_request
        TopicPartitions { topic partitions unknown_tagged_fields }
        ElectLeadersRequest { election_type topic_partitions timeout_ms unknown_tagged_fields };
    elect_leaders_response
        ReplicaElectionResult { topic partition_result unknown_tagged_fields }
        PartitionResult { partition_id error_code error_message unknown_tagged_fields }
        ElectLeadersResponse {
            throttle_time_ms error_code replica_election_results unknown_tagged_fields
        };
    incremental_alter_configs_request
        AlterConfigsResource { resource_type resource_name configs unknown_tagged_fields }
        AlterableConfig { name config_operation value unknown_tagged_fields }
        IncrementalAlterConfigsRequest { resources validate_only unknown_tagged_fields };
    incremental_alter_configs_response
        AlterConfigsResourceResponse {
            error_code error_message resource_type resource_name unknown_tagged_fields
        }
        IncrementalAlterConfigsResponse { throttle_time_ms responses unknown_tagged_fields };
    describe_cluster_request
        DescribeClusterRequest {
            include_cluster_authorized_operations endpoint_type include_fenced_brokers
            unknown_tagged_fields
        };
    describe_cluster_response
        DescribeClusterBroker { broker_id host port rack is_fenced unknown_tagged_fields }
        DescribeClusterResponse {
            throttle_time_ms error_code error_message endpoint_type cluster_id controller_id brokers
            cluster_authorized_operations unknown_tagged_fields
        };
}

/// Expands `$visit!(Key, Request, Response)` for each API on offer. The match without a wildcard
/// makes a new API an error here until it is listed.
#[macro_export]
macro_rules! each_api {
    ($visit:ident) => {
        for api in jackdaw::protocol::APIS {
            match api.key {
                jackdaw::protocol::ApiKey::Produce => $visit!(api, ProduceRequest, ProduceResponse),
                jackdaw::protocol::ApiKey::Fetch => $visit!(api, FetchRequest, FetchResponse),
                jackdaw::protocol::ApiKey::ListOffsets => {
                    $visit!(api, ListOffsetsRequest, ListOffsetsResponse)
                }
                jackdaw::protocol::ApiKey::Metadata => {
                    $visit!(api, MetadataRequest, MetadataResponse)
                }
                jackdaw::protocol::ApiKey::OffsetCommit => {
                    $visit!(api, OffsetCommitRequest, OffsetCommitResponse)
                }
                jackdaw::protocol::ApiKey::OffsetFetch => {
                    $visit!(api, OffsetFetchRequest, OffsetFetchResponse)
                }
                jackdaw::protocol::ApiKey::FindCoordinator => {
                    $visit!(api, FindCoordinatorRequest, FindCoordinatorResponse)
                }
                jackdaw::protocol::ApiKey::JoinGroup => {
                    $visit!(api, JoinGroupRequest, JoinGroupResponse)
                }
                jackdaw::protocol::ApiKey::Heartbeat => {
                    $visit!(api, HeartbeatRequest, HeartbeatResponse)
                }
                jackdaw::protocol::ApiKey::LeaveGroup => {
                    $visit!(api, LeaveGroupRequest, LeaveGroupResponse)
                }
                jackdaw::protocol::ApiKey::SyncGroup => {
                    $visit!(api, SyncGroupRequest, SyncGroupResponse)
                }
                jackdaw::protocol::ApiKey::DescribeGroups => {
                    $visit!(api, DescribeGroupsRequest, DescribeGroupsResponse)
                }
                jackdaw::protocol::ApiKey::ListGroups => {
                    $visit!(api, ListGroupsRequest, ListGroupsResponse)
                }
                jackdaw::protocol::ApiKey::ApiVersions => {
                    $visit!(api, ApiVersionsRequest, ApiVersionsResponse)
                }
                jackdaw::protocol::ApiKey::CreateTopics => {
                    $visit!(api, CreateTopicsRequest, CreateTopicsResponse)
                }
                jackdaw::protocol::ApiKey::DeleteTopics => {
                    $visit!(api, DeleteTopicsRequest, DeleteTopicsResponse)
                }
                jackdaw::protocol::ApiKey::DeleteRecords => {
                    $visit!(api, DeleteRecordsRequest, DeleteRecordsResponse)
                }
                jackdaw::protocol::ApiKey::InitProducerId => {
                    $visit!(api, InitProducerIdRequest, InitProducerIdResponse)
                }
                jackdaw::protocol::ApiKey::OffsetForLeaderEpoch => {
                    $visit!(api, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse)
                }
                jackdaw::protocol::ApiKey::DescribeConfigs => {
                    $visit!(api, DescribeConfigsRequest, DescribeConfigsResponse)
                }
                jackdaw::protocol::ApiKey::CreatePartitions => {
                    $visit!(api, CreatePartitionsRequest, CreatePartitionsResponse)
                }
                jackdaw::protocol::ApiKey::ElectLeaders => {
                    $visit!(api, ElectLeadersRequest, ElectLeadersResponse)
                }
                jackdaw::protocol::ApiKey::IncrementalAlterConfigs => {
                    $visit!(api, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse)
                }
                jackdaw::protocol::ApiKey::DescribeCluster => {
                    $visit!(api, DescribeClusterRequest, DescribeClusterResponse)
                }
            }
        }
    };
}
