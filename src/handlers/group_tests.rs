//! The group APIs through typed messages: every version, and the rules that hang on versions.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use kafka_wire::find_coordinator_request::FindCoordinatorRequest;
use kafka_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_wire::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use kafka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_wire::{
    DescribeGroupsRequest, HeartbeatRequest, JoinGroupResponse, KafkaMessage, ListGroupsRequest,
    OffsetCommitResponse, OffsetFetchResponse,
};
use kafka_wire_core::{ApiVersion, Uuid};

use super::find_coordinator::{CoordinatorEndpoint, CoordinatorLookup};
use super::{
    GroupCaller, describe_groups, find_coordinator, heartbeat, join_group, leave_group,
    list_groups, offset_commit, offset_fetch, sync_group,
};
use crate::group::memory_store::{MemoryStore, TwoTopics};
use crate::group::{Coordinator, CoordinatorParts, GroupOptions, MonotonicTicks, Term};
use crate::model::{BrokerId, SystemClock};

/// Topic "t" of [`TwoTopics`].
const T: Uuid = Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
const NO_SUCH_TOPIC: Uuid = Uuid::from_bytes([9; 16]);

/// A coordinator that runs; it leads if `leads`.
fn coordinator(leads: bool) -> Coordinator {
    let store = MemoryStore::default();
    store.contents().term = 1;
    let groups = Coordinator::new(CoordinatorParts {
        options: GroupOptions { initial_rebalance_delay_ms: 0, ..GroupOptions::default() },
        store: Arc::new(store),
        topics: Arc::new(TwoTopics),
        clock: Arc::new(SystemClock),
        ticks: Arc::new(MonotonicTicks::default()),
    });
    let running = groups.clone();
    let (sender, receiver) = tokio::sync::watch::channel(leads.then_some(Term(1)));
    tokio::spawn(async move {
        let _alive = sender;
        running.run(receiver).await;
    });
    groups
}

/// A coordinator that leads already.
async fn leading() -> Coordinator {
    let groups = coordinator(true);
    while groups.describe("g").is_err() {
        tokio::task::yield_now().await;
    }
    groups
}

fn caller(version: i16) -> GroupCaller {
    GroupCaller { version, client_id: "c".into(), client_host: "/127.0.0.1".into() }
}

/// Sends the message through its encoding in this version, as over a socket.
fn wired<M: KafkaMessage>(message: &M, version: i16) -> M {
    let version = ApiVersion::new(version);
    let mut buffer = BytesMut::new();
    message.encode_into(&mut buffer, version).expect(M::NAME);
    let limits = kafka_wire_core::DecodeLimits::default();
    M::decode_from_bytes(buffer.freeze(), version, limits).expect(M::NAME)
}

fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t");
    let mut request = JoinGroupRequest::default();
    request.group_id = group.into();
    request.session_timeout_ms = 10_000;
    request.rebalance_timeout_ms = 10_000;
    request.member_id = member.into();
    request.protocol_type = "consumer".into();
    request.protocols = vec![protocol];
    request
}

async fn join(groups: &Coordinator, version: i16, request: &JoinGroupRequest) -> JoinGroupResponse {
    let request = wired(request, version);
    wired(&join_group::handle(groups, &caller(version), request).await, version)
}

/// Joins as the only member and takes everything; returns the member id.
async fn stable_group(groups: &Coordinator, group: &str, version: i16) -> String {
    let mut joined = join(groups, version, &join_request(group, "")).await;
    if version >= 4 {
        assert_eq!((joined.error_code, joined.generation_id), (79, -1));
        assert!(joined.member_id.starts_with("c-"));
        joined = join(groups, version, &join_request(group, &joined.member_id)).await;
    }
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!((joined.members.len(), &joined.leader), (1, &joined.member_id));
    let named = joined.protocol_type.as_deref() == Some("consumer");
    assert_eq!(named, version >= 7);

    let mut assignment = SyncGroupRequestAssignment::default();
    assignment.member_id = joined.member_id.clone();
    assignment.assignment = Bytes::from_static(b"all");
    let mut request = SyncGroupRequest::default();
    request.group_id = group.into();
    request.generation_id = 1;
    request.member_id = joined.member_id.clone();
    request.assignments = vec![assignment];
    for version in 0..=5 {
        if version == 5 {
            // The protocol's names are mandatory from here on.
            let refused = sync_group::handle(groups, &caller(5), wired(&request, 5)).await;
            assert_eq!(refused.error_code, 23);
            request.protocol_type = Some("consumer".into());
            request.protocol_name = Some("range".into());
        }
        let response = sync_group::handle(groups, &caller(version), wired(&request, version)).await;
        let response = wired(&response, version);
        assert_eq!((response.error_code, &*response.assignment), (0, &b"all"[..]));
    }
    joined.member_id.to_string()
}

#[tokio::test]
async fn members_of_every_version_join_and_sync() {
    let groups = leading().await;
    for version in 0..=9 {
        let group = format!("g{version}");
        let member = stable_group(&groups, &group, version).await;
        for version in 0..=4 {
            let mut request = HeartbeatRequest::default();
            request.group_id = group.as_str().into();
            request.generation_id = 1;
            request.member_id = member.as_str().into();
            let response = heartbeat::handle(&groups, wired(&request, version)).await;
            assert_eq!(wired(&response, version).error_code, 0);
        }
    }
}

#[tokio::test]
async fn refused_joins_can_be_encoded() {
    let groups = leading().await;
    for version in 0..=9 {
        let mut request = join_request("g", "");
        request.session_timeout_ms = 1;
        let response = join(&groups, version, &request).await;
        assert_eq!(response.error_code, 26);
        assert_eq!(response.protocol_name.is_none(), version >= 7);
        let response = join(&groups, version, &join_request("", "")).await;
        assert_eq!(response.error_code, 24);
        let response = join(&groups, version, &join_request("g", &"x".repeat(2_000))).await;
        assert_eq!(response.error_code, 42);
    }
}

#[tokio::test]
async fn members_leave_one_by_one_or_together() {
    let groups = leading().await;
    for version in 0..=5 {
        let group = format!("g{version}");
        let member = stable_group(&groups, &group, 5).await;
        let mut request = LeaveGroupRequest::default();
        request.group_id = group.as_str().into();
        let mut codes = Vec::new();
        for _ in 0..2 {
            if version >= 3 {
                let mut identity = MemberIdentity::default();
                identity.member_id = member.as_str().into();
                request.members = vec![identity.clone(), identity];
            } else {
                request.member_id = member.as_str().into();
            }
            let message = wired(&request, version);
            let response = leave_group::handle(&groups, &caller(version), message).await;
            let response = wired(&response, version);
            codes.push(response.error_code);
            codes.extend(response.members.iter().map(|member| member.error_code));
        }
        let want: &[i16] = if version >= 3 { &[0, 0, 25, 0, 25, 25] } else { &[0, 25] };
        assert_eq!(codes, want, "version {version}");
    }
}

fn commit_request(group: &str, version: i16, member: &str) -> OffsetCommitRequest {
    let partition = |index: i32, metadata: Option<&str>| {
        let mut partition = OffsetCommitRequestPartition::default();
        partition.partition_index = index;
        partition.committed_offset = 40 + i64::from(index);
        partition.committed_leader_epoch = 6;
        partition.committed_metadata = metadata.map(Into::into);
        partition
    };
    let topic = |name: &str, id| {
        let mut topic = OffsetCommitRequestTopic::default();
        topic.name = name.into();
        topic.topic_id = id;
        topic.partitions = vec![partition(1, Some("mine")), partition(2, None)];
        topic
    };
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.into();
    request.member_id = member.into();
    request.generation_id_or_member_epoch = if member.is_empty() { -1 } else { 1 };
    request.topics = vec![topic("gone", NO_SUCH_TOPIC), topic("t", T)];
    wired(&request, version)
}

async fn commit(
    groups: &Coordinator,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    wired(&offset_commit::handle(groups, &caller(version), request).await, version)
}

fn commit_codes(response: &OffsetCommitResponse) -> Vec<Vec<i16>> {
    let codes =
        |partitions: &[kafka_wire::offset_commit_response::OffsetCommitResponsePartition]| {
            partitions.iter().map(|partition| partition.error_code).collect()
        };
    response.topics.iter().map(|topic| codes(&topic.partitions)).collect()
}

#[tokio::test]
async fn offsets_are_committed_and_fetched_in_every_version() {
    let groups = leading().await;
    for version in 2..=10 {
        let group = format!("g{version}");
        let member = stable_group(&groups, &group, 5).await;
        let response = commit(&groups, version, commit_request(&group, version, &member)).await;
        let unknown = if version >= 10 { 100 } else { 3 };
        assert_eq!(commit_codes(&response), [[unknown, unknown], [0, 0]]);
        if version >= 10 {
            assert_eq!(response.topics[1].topic_id, T);
        }
        let response = commit(&groups, version, commit_request(&group, version, "who")).await;
        let unknown_member = commit_codes(&response)[1][0];
        assert_eq!(unknown_member, 25);
        let mut stale = commit_request(&group, version, &member);
        stale.generation_id_or_member_epoch = 7;
        assert_eq!(commit_codes(&commit(&groups, version, stale).await)[1][0], 22);
        let absent = commit(&groups, version, commit_request("absent", version, "who")).await;
        assert_eq!(commit_codes(&absent)[1][0], if version >= 9 { 69 } else { 22 });
        for fetch_version in 1..=10 {
            let epoch = if version >= 6 && fetch_version >= 5 { 6 } else { -1 };
            fetch_back(&groups, &group, fetch_version, epoch).await;
        }
    }
}

async fn fetch(
    groups: &Coordinator,
    version: i16,
    request: &OffsetFetchRequest,
) -> OffsetFetchResponse {
    let request = wired(request, version);
    wired(&offset_fetch::handle(groups, &caller(version), request).await, version)
}

/// (topic, partition, offset, epoch, metadata, error) of everything in the response.
fn fetched(response: &OffsetFetchResponse) -> Vec<(String, i32, i64, i32, String, i16)> {
    let mut all = Vec::new();
    for topic in &response.topics {
        for p in &topic.partitions {
            let metadata = p.metadata.as_deref().unwrap_or("-").to_owned();
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            let name = topic.name.to_string();
            all.push((name, p.partition_index, offset, epoch, metadata, p.error_code));
        }
    }
    for topic in response.groups.iter().flat_map(|group| &group.topics) {
        for p in &topic.partitions {
            let metadata = p.metadata.as_deref().unwrap_or("-").to_owned();
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            let name = match topic.topic_id {
                T => "t".to_owned(),
                NO_SUCH_TOPIC => "gone".to_owned(),
                _ => topic.name.to_string(),
            };
            all.push((name, p.partition_index, offset, epoch, metadata, p.error_code));
        }
    }
    all
}

async fn fetch_back(groups: &Coordinator, group: &str, version: i16, epoch: i32) {
    let mut request = OffsetFetchRequest::default();
    let (t, gone) = (vec![2, 1, 3], vec![0]);
    if version >= 8 {
        let topic = |name: &str, id, indexes: &[i32]| {
            let mut topic = OffsetFetchRequestTopics::default();
            topic.name = name.into();
            topic.topic_id = id;
            topic.partition_indexes = indexes.to_vec();
            topic
        };
        let mut asked = OffsetFetchRequestGroup::default();
        asked.group_id = group.into();
        asked.member_id = (version >= 9).then(|| "whoever".into());
        asked.topics = Some(vec![topic("t", T, &t), topic("gone", NO_SUCH_TOPIC, &gone)]);
        request.groups = vec![asked];
    } else {
        let topic = |name: &str, indexes: &[i32]| {
            let mut topic = OffsetFetchRequestTopic::default();
            topic.name = name.into();
            topic.partition_indexes = indexes.to_vec();
            topic
        };
        request.group_id = group.into();
        request.topics = Some(vec![topic("t", &t), topic("gone", &gone)]);
    }
    request.require_stable = version >= 7;
    let row = |topic: &str, partition, offset, epoch, metadata: &str, error| {
        (topic.to_owned(), partition, offset, epoch, metadata.to_owned(), error)
    };
    let unknown = if version >= 10 { 100 } else { 0 };
    let want = [
        row("t", 2, 42, epoch, "", 0),
        row("t", 1, 41, epoch, "mine", 0),
        row("t", 3, -1, -1, "", 0),
        row("gone", 0, -1, -1, "", unknown),
    ];
    assert_eq!(fetched(&fetch(groups, version, &request).await), want, "version {version}");
    if version < 2 {
        return;
    }
    match &mut request.groups[..] {
        [] => request.topics = None,
        groups => groups[0].topics = None,
    }
    let want = [row("t", 1, 41, epoch, "mine", 0), row("t", 2, 42, epoch, "", 0)];
    assert_eq!(fetched(&fetch(groups, version, &request).await), want, "all, version {version}");
}

#[tokio::test]
async fn groups_are_described_and_listed() {
    let groups = leading().await;
    let member = stable_group(&groups, "here", 5).await;
    commit(&groups, 9, commit_request("simple", 9, "")).await;
    for version in 0..=6 {
        let mut request = DescribeGroupsRequest::default();
        request.groups = vec!["here".into(), "gone".into(), "simple".into()];
        request.include_authorized_operations = version >= 3;
        let response =
            describe_groups::handle(&groups, &caller(version), wired(&request, version)).await;
        let response = wired(&response, version);
        let [here, gone, simple] = &response.groups[..] else { panic!("three groups") };
        assert_eq!((&*here.group_state, &*here.protocol_data), ("Stable", "range"));
        assert_eq!(&*here.members[0].member_id, member);
        assert_eq!(&*here.members[0].client_host, "/127.0.0.1");
        assert_eq!(&*here.members[0].member_assignment, b"all");
        assert_eq!(here.authorized_operations, if version >= 3 { 3_400 } else { i32::MIN });
        let want = if version >= 6 { 69 } else { 0 };
        assert_eq!((&*gone.group_state, gone.error_code), ("Dead", want));
        assert_eq!((&*simple.group_state, &*simple.protocol_type), ("Empty", ""));
    }
    for version in 0..=5 {
        let mut request = ListGroupsRequest::default();
        let mut listed = list(&groups, version, &request).await;
        assert_eq!(listed, ["here", "simple"]);
        if version >= 4 {
            request.states_filter = vec!["stable".into(), "Dead".into()];
            listed = list(&groups, version, &request).await;
            assert_eq!(listed, ["here"]);
        }
        if version >= 5 {
            request.types_filter = vec!["consumer".into()];
            assert!(list(&groups, version, &request).await.is_empty());
            request.types_filter = vec!["Classic".into()];
            assert_eq!(list(&groups, version, &request).await, ["here"]);
        }
    }
}

async fn list(groups: &Coordinator, version: i16, request: &ListGroupsRequest) -> Vec<String> {
    let response = list_groups::handle(groups, wired(request, version)).await;
    let response = wired(&response, version);
    assert_eq!(response.error_code, 0);
    response.groups.iter().map(|group| group.group_id.to_string()).collect()
}

#[tokio::test]
async fn a_node_that_does_not_coordinate_says_so() {
    let groups = coordinator(false);
    let response = join(&groups, 9, &join_request("g", "")).await;
    assert_eq!(response.error_code, 16);
    let response = commit(&groups, 8, commit_request("g", 8, "")).await;
    assert_eq!(commit_codes(&response), [[16, 16], [16, 16]]);
    for version in [1, 2, 8] {
        let mut request = OffsetFetchRequest::default();
        let mut topic = OffsetFetchRequestTopic::default();
        topic.name = "t".into();
        topic.partition_indexes = vec![0];
        if version == 8 {
            let mut newer = OffsetFetchRequestTopics::default();
            newer.name = "t".into();
            newer.partition_indexes = vec![0];
            let mut group = OffsetFetchRequestGroup::default();
            group.topics = Some(vec![newer]);
            request.groups = vec![group];
        } else {
            request.topics = Some(vec![topic]);
        }
        let response = fetch(&groups, version, &request).await;
        let error = match version {
            1 => response.topics[0].partitions[0].error_code,
            2 => response.error_code,
            _ => response.groups[0].error_code,
        };
        assert_eq!(error, 16);
        // A partition's error is final to librdkafka, the group's is retried.
        let partitions =
            response.topics.len() + response.groups.iter().flat_map(|g| &g.topics).count();
        assert_eq!(partitions, usize::from(version == 1), "version {version}");
    }
    assert!(list(&groups, 5, &ListGroupsRequest::default()).await.is_empty());
    let mut request = DescribeGroupsRequest::default();
    request.groups = vec!["g".into()];
    let response = describe_groups::handle(&groups, &caller(6), request).await;
    assert_eq!(wired(&response, 6).groups[0].error_code, 16);
}

struct Knows(Option<CoordinatorEndpoint>);

impl CoordinatorLookup for Knows {
    fn group_coordinator(&self) -> BoxFuture<'_, Option<CoordinatorEndpoint>> {
        Box::pin(async { self.0.clone() })
    }
}

#[tokio::test]
async fn coordinators_are_found() {
    let endpoint = CoordinatorEndpoint { node: BrokerId(2), host: "127.0.0.1".into(), port: 9093 };
    // (lookup, key type, node, port, error)
    let table = [
        (Knows(Some(endpoint.clone())), 0, 2, 9093, 0),
        (Knows(None), 0, -1, -1, 15),
        (Knows(Some(endpoint)), 1, -1, -1, 42),
    ];
    for (lookup, key_type, node, port, error) in table {
        for version in 0..=6 {
            if version == 0 && key_type != 0 {
                continue;
            }
            let mut request = FindCoordinatorRequest::default();
            request.key_type = key_type;
            if version >= 4 {
                request.coordinator_keys = vec!["g".into(), "h".into()];
            } else {
                request.key = "g".into();
            }
            let request = wired(&request, version);
            let response = find_coordinator::handle(&lookup, version, request).await;
            let response = wired(&response, version);
            if version < 4 {
                let got = (response.node_id, response.port, response.error_code);
                assert_eq!(got, (node, port, error));
            }
            let keys: Vec<_> = response.coordinators.iter().map(|found| &*found.key).collect();
            assert_eq!(keys, if version >= 4 { vec!["g", "h"] } else { vec![] });
            for found in response.coordinators {
                assert_eq!((found.node_id, found.port, found.error_code), (node, port, error));
                assert_eq!(found.error_message.is_some(), error != 0);
            }
        }
    }
}
