//! Membership in a consumer group by the classic protocol, with the range assignor.
//!
//! ```text
//! join ──► sync ──► member of a generation ──heartbeat says "rebalance"──► join again
//! ```
//! Heartbeats run on a connection of their own, since a join can wait for minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, consumer_protocol_assignment,
    decode_consumer_protocol_assignment, decode_consumer_protocol_subscription,
    encode_consumer_protocol_assignment, encode_consumer_protocol_subscription,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, StrBytes};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::assignor;
use super::cluster::{Client, RETRY_AFTER};
use super::connection::Connection;
use super::error::{ClientFailure, check};
use crate::protocol::ErrorCode;

const SESSION_TIMEOUT_MS: i32 = 30_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// A member of a group that reads one topic.
pub(crate) struct GroupMember {
    group: String,
    topic: String,
    member_id: String,
    generation: i32,
    coordinator: i32,
    /// Partitions assigned in this generation.
    pub(crate) assigned: Vec<i32>,
    heartbeats: Option<(JoinHandle<()>, watch::Receiver<bool>)>,
}

impl GroupMember {
    /// Joins `group` and waits for an assignment.
    ///
    /// # Errors
    /// A refusal that joining again does not mend.
    pub(crate) async fn join(
        client: &mut Client,
        group: &str,
        topic: &str,
    ) -> Result<Self, ClientFailure> {
        let mut member = Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            member_id: String::new(),
            generation: -1,
            coordinator: client.coordinator(group).await?,
            assigned: Vec::new(),
            heartbeats: None,
        };
        member.rejoin(client).await?;
        Ok(member)
    }

    /// Joins again, after the heartbeat asked for it.
    ///
    /// # Errors
    /// A refusal that joining again does not mend, or the rebalance takes too long.
    pub(crate) async fn rejoin(&mut self, client: &mut Client) -> Result<(), ClientFailure> {
        self.stop_heartbeats();
        let deadline =
            Instant::now() + Duration::from_millis(2 * REBALANCE_TIMEOUT_MS.unsigned_abs() as u64);
        loop {
            let failure = match self.join_once(client, deadline).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            let again = match failure.code() {
                Some(ErrorCode::UnknownMemberId) => {
                    self.member_id.clear();
                    true
                }
                // The answer carried the id that it asks for.
                Some(ErrorCode::MemberIdRequired) => true,
                Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => true,
                _ => failure.is_retriable(),
            };
            if !again || Instant::now() + RETRY_AFTER >= deadline {
                return Err(failure);
            }
            if failure.code() != Some(ErrorCode::MemberIdRequired) {
                sleep(RETRY_AFTER).await;
                client.look(Some(std::slice::from_ref(&self.topic))).await?;
                self.coordinator = client.coordinator(&self.group).await?;
            }
        }
        self.start_heartbeats(client).await
    }

    async fn join_once(
        &mut self,
        client: &mut Client,
        deadline: Instant,
    ) -> Result<(), ClientFailure> {
        let mut protocol = JoinGroupRequestProtocol::default();
        protocol.name = StrBytes::from("range");
        protocol.metadata = subscription(&self.topic)?;
        let mut request = JoinGroupRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.session_timeout_ms = SESSION_TIMEOUT_MS;
        request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
        request.member_id = StrBytes::from(self.member_id.as_str());
        request.protocol_type = StrBytes::from("consumer");
        request.protocols = vec![protocol];
        let joined = client.call(self.coordinator, &request, 7, deadline).await?;
        if !joined.member_id.is_empty() {
            self.member_id = joined.member_id.to_string();
        }
        check(joined.error_code, format!("join group {:?}", self.group), None)?;
        self.generation = joined.generation_id;
        let is_leader = joined.leader == joined.member_id;
        let mut request = SyncGroupRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.generation_id = self.generation;
        request.member_id = StrBytes::from(self.member_id.as_str());
        request.protocol_type = Some(StrBytes::from("consumer"));
        request.protocol_name = Some(StrBytes::from("range"));
        if is_leader {
            request.assignments = assign(client, &joined)?;
        }
        let response = client.call(self.coordinator, &request, 5, deadline).await?;
        check(response.error_code, format!("sync with group {:?}", self.group), None)?;
        self.assigned = assigned(response.assignment, &self.topic)?;
        Ok(())
    }

    async fn start_heartbeats(&mut self, client: &Client) -> Result<(), ClientFailure> {
        let mut request = HeartbeatRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.generation_id = self.generation;
        request.member_id = StrBytes::from(self.member_id.as_str());
        let connection = client.open(self.coordinator, client.deadline()).await?;
        let (tell, told) = watch::channel(false);
        let task = tokio::spawn(heartbeat(connection, request, tell));
        self.heartbeats = Some((task, told));
        Ok(())
    }

    fn stop_heartbeats(&mut self) {
        if let Some((task, _)) = self.heartbeats.take() {
            task.abort();
        }
    }

    /// Whether the group wants this member to join again.
    pub(crate) fn must_rejoin(&self) -> bool {
        self.heartbeats.as_ref().is_none_or(|(task, told)| *told.borrow() || task.is_finished())
    }

    /// The group's committed offsets of the assigned partitions; none where nothing is committed.
    ///
    /// # Errors
    /// A refusal, or no coordinator until the deadline.
    pub(crate) async fn committed(
        &self,
        client: &mut Client,
    ) -> Result<BTreeMap<i32, i64>, ClientFailure> {
        let wanted = (self.topic.as_str(), self.assigned.as_slice());
        let offsets = committed(client, &self.group, Some(wanted)).await?;
        Ok(offsets.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
    }

    /// Commits positions.
    ///
    /// # Errors
    /// A refusal; a rebalance that is under way is one.
    pub(crate) async fn commit(
        &self,
        client: &mut Client,
        positions: &BTreeMap<i32, i64>,
    ) -> Result<(), ClientFailure> {
        let mut topic = OffsetCommitRequestTopic::default();
        topic.name = StrBytes::from(self.topic.as_str());
        for (index, offset) in positions {
            let mut partition = OffsetCommitRequestPartition::default();
            partition.partition_index = *index;
            partition.committed_offset = *offset;
            partition.committed_leader_epoch = -1;
            partition.committed_metadata = Some(StrBytes::default());
            topic.partitions.push(partition);
        }
        let mut request = OffsetCommitRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.generation_id_or_member_epoch = self.generation;
        request.member_id = StrBytes::from(self.member_id.as_str());
        request.retention_time_ms = -1;
        request.topics = vec![topic];
        let answer = client.call(self.coordinator, &request, 9, client.deadline()).await?;
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = format!("commit {}-{}", self.topic, partition.partition_index);
            check(partition.error_code, what, None)?;
        }
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for the session to end.
    ///
    /// # Errors
    /// A refusal or a broken connection.
    pub(crate) async fn leave(mut self, client: &mut Client) -> Result<(), ClientFailure> {
        self.stop_heartbeats();
        let mut member = MemberIdentity::default();
        member.member_id = StrBytes::from(self.member_id.as_str());
        let mut request = LeaveGroupRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.members = vec![member];
        let answer = client.call(self.coordinator, &request, 4, client.deadline()).await?;
        check(answer.error_code, format!("leave group {:?}", self.group), None)
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.stop_heartbeats();
    }
}

/// Sends heartbeats until the group asks for a rejoin or the connection fails, then says so.
async fn heartbeat(
    mut connection: Connection,
    request: HeartbeatRequest,
    tell: watch::Sender<bool>,
) {
    loop {
        sleep(HEARTBEAT_EVERY).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        let well = match connection.call(&request, 4, deadline).await {
            Ok(answer) => answer.error_code == ErrorCode::None.code(),
            Err(_) => false,
        };
        if !well {
            // The receiver is gone only if the member is.
            let _ = tell.send(true);
            return;
        }
    }
}

/// A group's committed offsets by topic and partition: of `wanted`, or all there are.
///
/// # Errors
/// A refusal, or no coordinator until the deadline.
pub(crate) async fn committed(
    client: &mut Client,
    group: &str,
    wanted: Option<(&str, &[i32])>,
) -> Result<BTreeMap<(String, i32), i64>, ClientFailure> {
    let mut request = OffsetFetchRequest::default();
    request.group_id = StrBytes::from(group);
    request.topics = wanted.map(|(topic, partitions)| {
        let mut wanted = OffsetFetchRequestTopic::default();
        wanted.name = StrBytes::from(topic);
        wanted.partition_indexes = partitions.to_vec();
        vec![wanted]
    });
    let deadline = client.deadline();
    loop {
        let coordinator = client.coordinator(group).await?;
        let failure = match client.call(coordinator, &request, 7, deadline).await {
            Ok(answer) => {
                let what = format!("committed offsets of {group:?}");
                match check(answer.error_code, what, None) {
                    Ok(()) => {
                        return Ok(offsets(&answer));
                    }
                    Err(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        if !failure.is_retriable() || Instant::now() + RETRY_AFTER >= deadline {
            return Err(failure);
        }
        sleep(RETRY_AFTER).await;
    }
}

fn offsets(answer: &OffsetFetchResponse) -> BTreeMap<(String, i32), i64> {
    let mut found = BTreeMap::new();
    for topic in &answer.topics {
        for partition in topic.partitions.iter().filter(|known| known.committed_offset >= 0) {
            let key = (topic.name.to_string(), partition.partition_index);
            found.insert(key, partition.committed_offset);
        }
    }
    found
}

fn malformed(what: &str, detail: String) -> ClientFailure {
    ClientFailure::Refused {
        what: what.to_owned(),
        code: ErrorCode::InconsistentGroupProtocol.code(),
        detail: Some(detail),
    }
}

fn subscription(topic: &str) -> Result<Bytes, ClientFailure> {
    let mut subscription = ConsumerProtocolSubscription::default();
    subscription.topics = vec![StrBytes::from(topic)];
    let mut buffer = BytesMut::new();
    encode_consumer_protocol_subscription(&mut buffer, &subscription, ApiVersion::new(0))
        .map_err(|error| malformed("encode the subscription", error.to_string()))?;
    Ok(buffer.freeze())
}

fn assign(
    client: &Client,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientFailure> {
    let mut members = BTreeMap::new();
    for member in &joined.members {
        let limits = DecodeLimits::default();
        let (_, wants) = decode_consumer_protocol_subscription(member.metadata.clone(), limits)
            .map_err(|error| malformed("read a member's subscription", error.to_string()))?;
        let topics = wants.topics.iter().map(ToString::to_string).collect();
        members.insert(member.member_id.to_string(), topics);
    }
    let topics = client.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions.len()));
    let assignments = assignor::range(&members, &topics.collect());
    assignments
        .into_iter()
        .map(|(member, topics)| {
            let mut assignment = SyncGroupRequestAssignment::default();
            assignment.member_id = StrBytes::from(member);
            assignment.assignment = encode_assignment(topics)?;
            Ok(assignment)
        })
        .collect()
}

fn encode_assignment(topics: BTreeMap<String, Vec<i32>>) -> Result<Bytes, ClientFailure> {
    let mut assignment = ConsumerProtocolAssignment::default();
    for (topic, partitions) in topics {
        let mut entry = consumer_protocol_assignment::TopicPartition::default();
        entry.topic = StrBytes::from(topic);
        entry.partitions = partitions;
        assignment.assigned_partitions.push(entry);
    }
    let mut buffer = BytesMut::new();
    encode_consumer_protocol_assignment(&mut buffer, &assignment, ApiVersion::new(0))
        .map_err(|error| malformed("encode the assignment", error.to_string()))?;
    Ok(buffer.freeze())
}

fn assigned(bytes: Bytes, topic: &str) -> Result<Vec<i32>, ClientFailure> {
    let mine = assignment(bytes)?;
    Ok(mine.into_iter().filter(|(name, _)| name == topic).map(|(_, partition)| partition).collect())
}

/// The topic partitions of an encoded assignment.
///
/// # Errors
/// The bytes are not an assignment of the consumer protocol.
pub(crate) fn assignment(bytes: Bytes) -> Result<Vec<(String, i32)>, ClientFailure> {
    // A member that gets nothing may get no bytes at all.
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (_, assignment) = decode_consumer_protocol_assignment(bytes, DecodeLimits::default())
        .map_err(|error| malformed("read the assignment", error.to_string()))?;
    let mut found = Vec::new();
    for entry in assignment.assigned_partitions {
        found.extend(entry.partitions.iter().map(|index| (entry.topic.to_string(), *index)));
    }
    Ok(found)
}
