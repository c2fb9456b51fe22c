//! Metadata: brokers, topics, and who leads each partition. Versions 0–13.
//!
//! A topic that is being auto-created and is not there within a moment is answered with
//! `LEADER_NOT_AVAILABLE` and no partitions. Kafka 4 says `UNKNOWN_TOPIC_OR_PARTITION`, which
//! librdkafka passes on to the application of a consumer ("Subscribed topic not available"); both
//! are retried by every client, but the former, which Kafka said before, by none as a fault.
//!
//! An answer that names a dead leader, or none, stands for long: librdkafka takes any leader for the end of
//! its search, and comes back with its next look at all topics, a second later. So every live peer is
//! heard from first, and elections that are under way are waited for. Of brokers that this one does not hear, it
//! tells what live peers tell: the link to them may be cut, and the client's not.
//!
//! **Invariant:** every leader named is in the list of brokers and alive, or heard by a peer; topics come in order of
//! their names where all are asked for, otherwise in the order asked for, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire_core::Uuid;

use super::errors::KafkaCode;
use super::farewell::Farewell;
use super::leader_wait;
use super::metadata_context::MetadataContext;
use super::wire;
use crate::metadata::{
    BrokerRegistration, CreateTopic, Hearsay, Leaders, Refusal, TopicImage, topic_name,
};
use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use crate::protocol::ErrorCode;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    mut farewell: Farewell,
    version: i16,
    body: MetadataRequest,
) -> MetadataResponse {
    let mut told = Told { hearsay: context.port.hear().await, leaders: Leaders::new() };
    let mut topics = topics(context, version, &told, body).await;
    ask_leaders(context, version, &mut told, &mut topics).await;
    await_leaders(context, version, &told, &mut topics).await;
    farewell.turn().await;
    // After the topics, so that every leader is among them.
    let brokers = brokers(context, &farewell, &told.hearsay);
    let mut response = MetadataResponse::default();
    response.cluster_id = Some(wire::text(&context.broker.cluster_id));
    response.controller_id = controller_id(context, &told.hearsay, &brokers);
    response.brokers = brokers.into_iter().map(broker).collect();
    response.topics = topics;
    response
}

/// What live peers tell, for one response.
struct Told {
    hearsay: Hearsay,
    /// Leaders that this broker does not know.
    leaders: Leaders,
}

/// Asks live peers who leads, where they hear brokers that this one does not.
async fn ask_leaders(
    context: &MetadataContext,
    version: i16,
    told: &mut Told,
    topics: &mut [MetadataResponseTopic],
) {
    if told.hearsay.there.is_empty() {
        return;
    }
    let partitions: Vec<_> = topics.iter().flat_map(leaderless).collect();
    if partitions.is_empty() {
        return;
    }
    told.leaders = context.port.ask_leaders(partitions).await;
    look_again(context, version, told, topics);
}

/// Waits for elections that are under way, and looks again at the topics that they were of.
async fn await_leaders(
    context: &MetadataContext,
    version: i16,
    told: &Told,
    topics: &mut [MetadataResponseTopic],
) {
    if !context.port.is_unsettled() {
        return;
    }
    let partitions: Vec<_> = topics.iter().flat_map(leaderless).collect();
    leader_wait::until_led(&*context.port, partitions).await;
    look_again(context, version, told, topics);
}

/// The partitions of a topic for which no leader is named.
fn leaderless(topic: &MetadataResponseTopic) -> Vec<(TopicId, PartitionIndex)> {
    let id = wire::topic_id(topic.topic_id);
    let partitions = topic.partitions.iter().filter(|partition| partition.leader_id < 0);
    partitions.map(move |partition| (id, PartitionIndex(partition.partition_index))).collect()
}

/// Answers anew for topics that lack leaders.
fn look_again(
    context: &MetadataContext,
    version: i16,
    told: &Told,
    topics: &mut [MetadataResponseTopic],
) {
    let (view, image) = (View::new(context, version, told), context.port.image());
    for topic in topics.iter_mut().filter(|topic| !leaderless(topic).is_empty()) {
        // One that was deleted meanwhile is answered as it was.
        if let Some(known) = image.topic_by_id(wire::topic_id(topic.topic_id)) {
            *topic = view.topic(known);
        }
    }
}

/// Those that are there or may be, and those that a client has yet to see replaced as leaders.
fn brokers(
    context: &MetadataContext,
    farewell: &Farewell,
    hearsay: &Hearsay,
) -> Vec<BrokerRegistration> {
    let brokers = context.brokers().into_iter();
    let is_listed = |broker: &BrokerRegistration| {
        let is_there = broker.id == context.broker.id() || hearsay.there.contains(&broker.id);
        is_there || farewell.is_told_of(broker.id, context.port.presence(broker.id))
    };
    brokers.map(|(broker, _)| broker).filter(is_listed).collect()
}

/// The metadata leader; where it is unknown or not among `brokers`, this broker, as one of Kafka's would name
/// any: what is asked of it is passed on once there is a leader. Admin clients that are told of none ask
/// again after minutes.
pub(super) fn controller_id(
    context: &MetadataContext,
    hearsay: &Hearsay,
    brokers: &[BrokerRegistration],
) -> i32 {
    let controller = hearsay.controller.or_else(|| context.port.controller());
    let listed = |id: &BrokerId| brokers.iter().any(|broker| broker.id == *id);
    controller.filter(listed).unwrap_or(context.broker.id()).0
}

fn broker(broker: BrokerRegistration) -> MetadataResponseBroker {
    let mut entry = MetadataResponseBroker::default();
    entry.node_id = broker.id.0;
    entry.host = wire::text(&broker.host);
    entry.port = broker.port.into();
    entry.rack = wire::option(broker.rack);
    entry
}

async fn topics(
    context: &MetadataContext,
    version: i16,
    told: &Told,
    body: MetadataRequest,
) -> Vec<MetadataResponseTopic> {
    // Version 0 cannot say "none": empty means all.
    let asked = match body.topics {
        Some(asked) if version > 0 || !asked.is_empty() => asked,
        _ => return all_topics(&View::new(context, version, told)),
    };
    let bad = |topic: &MetadataRequestTopic| topic.name.is_none() || topic.topic_id != Uuid::ZERO;
    if version < 12 && asked.iter().any(bad) {
        return asked.into_iter().map(|topic| not_by_id(&topic)).collect();
    }
    if asked.iter().any(|topic| topic.topic_id != Uuid::ZERO) {
        return topics_by_id(&View::new(context, version, told), &asked);
    }
    let mut seen = BTreeSet::new();
    let names = asked.into_iter().filter_map(|topic| topic.name);
    let names: Vec<String> =
        names.map(|name| name.into_string()).filter(|name| seen.insert(name.clone())).collect();
    let refused =
        if body.allow_auto_topic_creation { auto_create(context, &names).await } else { None };
    let view = View::new(context, version, told);
    names.into_iter().map(|name| view.topic_by_name(name, refused.as_ref())).collect()
}

fn all_topics(view: &View<'_>) -> Vec<MetadataResponseTopic> {
    let image = view.context.port.image();
    image.topics_by_name.values().map(|topic| view.topic(topic)).collect()
}

/// Kafka goes by the ids alone as soon as one is given, and ignores names beside them.
fn topics_by_id(view: &View<'_>, asked: &[MetadataRequestTopic]) -> Vec<MetadataResponseTopic> {
    let image = view.context.port.image();
    let mut seen = BTreeSet::new();
    let ids = asked.iter().map(|topic| topic.topic_id).filter(|id| *id != Uuid::ZERO);
    ids.filter(|id| seen.insert(*id))
        .map(|id| match image.topic_by_id(wire::topic_id(id)) {
            Some(topic) => view.topic(topic),
            None => {
                let mut entry = MetadataResponseTopic::default();
                entry.error_code = ErrorCode::UnknownTopicId.code();
                entry.name = None;
                entry.topic_id = id;
                entry
            }
        })
        .collect()
}

/// Before version 12 a request goes by name; an id or a missing name makes all of it invalid.
fn not_by_id(topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    let mut entry = MetadataResponseTopic::default();
    entry.error_code = ErrorCode::InvalidRequest.code();
    entry.name = Some(topic.name.clone().unwrap_or_default());
    entry.topic_id = topic.topic_id;
    entry
}

/// Has missing topics created, where the broker does that. Returns what was refused; `None` where
/// nothing is created at all.
async fn auto_create(
    context: &MetadataContext,
    names: &[String],
) -> Option<BTreeMap<String, Refusal>> {
    if !context.broker.auto_create_topics {
        return None;
    }
    let image = context.port.image();
    let missing: Vec<CreateTopic> = names
        .iter()
        .filter(|name| image.topic(name).is_none() && is_creatable(name))
        .map(|name| CreateTopic {
            name: name.clone(),
            partitions: -1,
            replication_factor: -1,
            ..CreateTopic::default()
        })
        .collect();
    if missing.is_empty() {
        return Some(BTreeMap::new());
    }
    Some(context.creations.ensure(&context.port, missing).await)
}

/// Kafka's own topics do not come to be here, where their state is kept elsewhere.
fn is_creatable(name: &str) -> bool {
    topic_name::validate(name).is_ok()
        && !topic_name::is_internal(name)
        && name != topic_name::CLUSTER_METADATA
}

/// What all topics of one response are seen by.
struct View<'a> {
    context: &'a MetadataContext,
    told: &'a Told,
    /// Heard by this broker, or by a peer.
    alive: BTreeSet<BrokerId>,
    version: i16,
}

impl<'a> View<'a> {
    fn new(context: &'a MetadataContext, version: i16, told: &'a Told) -> Self {
        let alive = context.brokers().into_iter().filter(|(_, alive)| *alive);
        let alive = alive.map(|(broker, _)| broker.id).chain(told.hearsay.there.iter().copied());
        Self { context, told, alive: alive.collect(), version }
    }

    /// The newest leader that is known here or was told.
    fn leader(&self, partition: (TopicId, PartitionIndex)) -> Option<(BrokerId, LeaderEpoch)> {
        let known = self.context.port.leader_of(partition.0, partition.1);
        let told = self.told.leaders.get(&partition).copied();
        known.into_iter().chain(told).max_by_key(|(_, epoch)| *epoch)
    }

    fn topic_by_name(
        &self,
        name: String,
        refused: Option<&BTreeMap<String, Refusal>>,
    ) -> MetadataResponseTopic {
        if let Some(topic) = self.context.port.image().topic(&name) {
            return self.topic(topic);
        }
        let code = match (topic_name::validate(&name), refused) {
            (Err(_), _) => ErrorCode::InvalidTopicException,
            (Ok(()), Some(refused)) if is_creatable(&name) => {
                refused.get(&name).map_or(ErrorCode::LeaderNotAvailable, Refusal::kafka_code)
            }
            (Ok(()), _) => ErrorCode::UnknownTopicOrPartition,
        };
        let mut entry = MetadataResponseTopic::default();
        entry.error_code = code.code();
        entry.name = Some(name.into());
        entry
    }

    fn topic(&self, topic: &Arc<TopicImage>) -> MetadataResponseTopic {
        let mut entry = MetadataResponseTopic::default();
        entry.name = Some(wire::text(&topic.name));
        entry.topic_id = wire::uuid(topic.id);
        let partition = |(index, replicas): (i32, &Vec<BrokerId>)| {
            let leader = self.leader((topic.id, PartitionIndex(index)));
            let mut entry = self.partition(index, replicas, leader);
            let is_led_here = entry.leader_id == self.context.broker.id().0;
            entry.isr_nodes.retain(|id| {
                let (index, broker) = (PartitionIndex(index), BrokerId(*id));
                // Who does not hear the leader does not follow it.
                let is_cut_off = is_led_here && self.told.hearsay.there.contains(&broker);
                !is_cut_off && !self.context.port.is_refilling(topic.id, index, broker)
            });
            entry
        };
        entry.partitions = (0..).zip(&topic.partitions).map(partition).collect();
        entry
    }

    fn partition(
        &self,
        index: i32,
        replicas: &[BrokerId],
        leader: Option<(BrokerId, LeaderEpoch)>,
    ) -> MetadataResponsePartition {
        let ids = |keep: &dyn Fn(&BrokerId) -> bool| -> Vec<i32> {
            replicas.iter().filter(|id| keep(id)).map(|id| id.0).collect()
        };
        let is_alive = |id: &BrokerId| self.alive.contains(id);
        let alive = ids(&is_alive);
        let missing = alive.len() < replicas.len();
        let mut entry = MetadataResponsePartition::default();
        entry.partition_index = index;
        let living_leader = leader.map(|(id, _)| id).filter(is_alive);
        entry.leader_id = living_leader.map_or(-1, |id| id.0);
        entry.leader_epoch = leader.map_or(-1, |(_, epoch)| epoch.0);
        entry.error_code = match living_leader {
            None => ErrorCode::LeaderNotAvailable,
            // Version 0 tells of dead replicas by an error and leaves them out.
            Some(_) if missing && self.version == 0 => ErrorCode::ReplicaNotAvailable,
            Some(_) => ErrorCode::None,
        }
        .code();
        entry.replica_nodes = if self.version == 0 { alive.clone() } else { ids(&|_| true) };
        entry.isr_nodes = alive;
        entry.offline_replicas = ids(&|id| !is_alive(id));
        entry
    }
}

#[cfg(test)]
#[path = "metadata_test.rs"]
mod tests;
