//! A metadata port in memory, over the real planner and the real replicated state, for the tests
//! of the handlers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use kafka_wire_core::{ApiVersion, Decoder, KafkaDecode, KafkaEncode};
use tokio::sync::watch;

use super::{Answers, BrokerInfo, MetadataContext, MetadataPort};
use crate::metadata::command::CommandReply;
use crate::metadata::configs::ConfigMap;
use crate::metadata::{
    AlterConfigs, BrokerRegistration, Change, Command, CreatePartitions, CreateTopic,
    ElectionError, Elections, Hearsay, Leaders, MetadataError, MetadataImage, Planner, Presence,
    State, TopicDefaults, TopicImage, TopicSelector,
};
use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId};
use crate::protocol::decode_limits;

/// The port. What a test may want to change lies open.
pub(super) struct FakePort {
    state: Mutex<State>,
    images: watch::Sender<Arc<MetadataImage>>,
    leadership: watch::Sender<u64>,
    pub(super) unsettled: AtomicBool,
    pub(super) leaders: Mutex<Leaders>,
    pub(super) refilling: Mutex<BTreeSet<(TopicId, PartitionIndex, BrokerId)>>,
    pub(super) alive: Mutex<BTreeSet<BrokerId>>,
    /// Alive until they are heard of.
    pub(super) dying: Mutex<BTreeSet<BrokerId>>,
    /// What clients are told of those that are not alive.
    pub(super) presences: Mutex<BTreeMap<BrokerId, Presence>>,
    pub(super) controller: Mutex<Option<BrokerId>>,
    /// What peers tell.
    pub(super) hearsay: Mutex<Hearsay>,
    pub(super) told_leaders: Mutex<Leaders>,
    /// Whether new partitions get a leader.
    pub(super) elects: Mutex<bool>,
    /// While true, changes wait.
    pub(super) held: watch::Sender<bool>,
    /// What every change fails with.
    pub(super) failure: Mutex<Option<fn() -> MetadataError>>,
    /// How often topics were asked to be created, and blocks to be allocated.
    pub(super) calls: AtomicU32,
}

pub(super) fn registration(id: i32) -> BrokerRegistration {
    BrokerRegistration {
        id: BrokerId(id),
        host: format!("host{id}"),
        port: 9092,
        admin: None,
        rack: (id == 2).then(|| "r2".into()),
        incarnation: 1,
    }
}

/// A cluster of brokers 1 to `brokers`, all alive, led by broker 1.
pub(super) fn cluster(brokers: i32) -> Arc<FakePort> {
    let mut state = State::new();
    for id in 1..=brokers {
        state.apply(Command::RegisterBroker(registration(id)));
    }
    let images = watch::Sender::new(state.image().clone());
    Arc::new(FakePort {
        state: Mutex::new(state),
        images,
        leadership: watch::Sender::new(0),
        unsettled: AtomicBool::new(false),
        leaders: Mutex::default(),
        refilling: Mutex::default(),
        alive: Mutex::new((1..=brokers).map(BrokerId).collect()),
        dying: Mutex::default(),
        presences: Mutex::default(),
        controller: Mutex::new(Some(BrokerId(1))),
        hearsay: Mutex::default(),
        told_leaders: Mutex::default(),
        elects: Mutex::new(true),
        held: watch::Sender::new(false),
        failure: Mutex::default(),
        calls: AtomicU32::new(0),
    })
}

impl FakePort {
    /// Broker 1's handlers.
    pub(super) fn context(self: &Arc<Self>) -> MetadataContext {
        let broker = BrokerInfo {
            registration: registration(1),
            cluster_id: "cluster-1".into(),
            auto_create_topics: true,
            static_configs: ConfigMap::from([("log.retention.hours".into(), "2".into())]),
        };
        MetadataContext::new(self.clone(), broker)
    }

    /// Creates a topic, each partition led by its first replica in epoch 1.
    pub(super) async fn topic(&self, name: &str, partitions: i32, replication: i16) -> TopicId {
        let topic = CreateTopic {
            name: name.into(),
            partitions,
            replication_factor: replication,
            ..CreateTopic::default()
        };
        let created = self.create_topics(vec![topic], false, Duration::from_secs(1)).await;
        created.unwrap().remove(0).unwrap().id
    }

    pub(super) fn elect(&self, topic: TopicId, partition: i32, leader: i32, epoch: i32) {
        let place = (topic, PartitionIndex(partition));
        self.leaders.lock().unwrap().insert(place, (BrokerId(leader), LeaderEpoch(epoch)));
        self.leadership.send_modify(|version| *version += 1);
    }

    fn elect_all(&self) {
        for topic in self.image().topics_by_id.values() {
            for (index, replicas) in (0..).zip(&topic.partitions) {
                if self.leader_of(topic.id, PartitionIndex(index)).is_none() {
                    self.elect(topic.id, index, replicas[0].0, 1);
                }
            }
        }
    }

    /// Plans all, then applies all, as the controller does.
    async fn change(
        &self,
        changes: Vec<Change>,
        validate_only: bool,
    ) -> Answers<(Command, CommandReply)> {
        self.calls.fetch_add(1, SeqCst);
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        if let Some(failure) = *self.failure.lock().unwrap() {
            return Err(failure());
        }
        let (statics, alive) = (ConfigMap::new(), self.alive());
        let defaults = TopicDefaults { partitions: 3, replication_factor: 1 };
        let mut state = self.state.lock().unwrap();
        let mut planner = Planner::new(state.image().clone(), &alive, defaults, &statics);
        let plans: Vec<_> = changes.into_iter().map(|change| planner.plan(change)).collect();
        let mut apply = |command: Command| {
            let reply =
                if validate_only { CommandReply::Done } else { state.apply(command.clone()) };
            reply.accepted().map(|reply| (command, reply))
        };
        let answers = plans.into_iter().map(|plan| plan.and_then(&mut apply)).collect();
        self.images.send_replace(state.image().clone());
        drop(state);
        if *self.elects.lock().unwrap() {
            self.elect_all();
        }
        Ok(answers)
    }

    async fn change_each(&self, changes: Vec<Change>, validate_only: bool) -> Answers<()> {
        let answers = self.change(changes, validate_only).await?;
        Ok(answers.into_iter().map(|answer| answer.map(drop)).collect())
    }
}

impl MetadataPort for FakePort {
    fn image(&self) -> Arc<MetadataImage> {
        self.images.borrow().clone()
    }

    fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.images.subscribe()
    }

    fn controller(&self) -> Option<BrokerId> {
        *self.controller.lock().unwrap()
    }

    fn alive(&self) -> BTreeSet<BrokerId> {
        self.alive.lock().unwrap().clone()
    }

    fn presence(&self, broker: BrokerId) -> Presence {
        if self.alive().contains(&broker) {
            return Presence::Alive;
        }
        self.presences.lock().unwrap().get(&broker).copied().unwrap_or(Presence::Gone)
    }

    fn hear(&self) -> BoxFuture<'_, Hearsay> {
        Box::pin(async {
            let dead = std::mem::take(&mut *self.dying.lock().unwrap());
            self.alive.lock().unwrap().retain(|id| !dead.contains(id));
            self.leaders.lock().unwrap().retain(|_, (leader, _)| !dead.contains(leader));
            let leaving = dead.into_iter().map(|id| (id, Presence::Leaving(Instant::now())));
            self.presences.lock().unwrap().extend(leaving);
            self.hearsay.lock().unwrap().clone()
        })
    }

    fn ask_leaders(&self, partitions: Vec<(TopicId, PartitionIndex)>) -> BoxFuture<'_, Leaders> {
        let mut told = self.told_leaders.lock().unwrap().clone();
        told.retain(|partition, _| partitions.contains(partition));
        Box::pin(async { told })
    }

    fn leader_of(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        self.leaders.lock().unwrap().get(&(topic, partition)).copied()
    }

    fn is_refilling(&self, topic: TopicId, partition: PartitionIndex, broker: BrokerId) -> bool {
        self.refilling.lock().unwrap().contains(&(topic, partition, broker))
    }

    fn leadership(&self) -> watch::Receiver<u64> {
        self.leadership.subscribe()
    }

    fn is_unsettled(&self) -> bool {
        self.unsettled.load(SeqCst)
    }

    fn create_topics(
        &self,
        topics: Vec<CreateTopic>,
        validate_only: bool,
        _timeout: Duration,
    ) -> BoxFuture<'_, Answers<Arc<TopicImage>>> {
        Box::pin(async move {
            let changes = topics.into_iter().map(Change::CreateTopic).collect();
            let answers = self.change(changes, validate_only).await?;
            let image = |(command, _): (Command, CommandReply)| match command {
                Command::CreateTopic(topic) => Arc::new(TopicImage {
                    name: topic.name.into(),
                    id: if validate_only { TopicId::ZERO } else { topic.id },
                    partitions: topic.partitions,
                    configs: topic.configs,
                }),
                other => panic!("{other:?}"),
            };
            Ok(answers.into_iter().map(|answer| answer.map(image)).collect())
        })
    }

    fn delete_topics(
        &self,
        topics: Vec<TopicSelector>,
        _timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>> {
        let changes = topics.into_iter().map(Change::DeleteTopic).collect();
        Box::pin(self.change_each(changes, false))
    }

    fn create_partitions(
        &self,
        topics: Vec<CreatePartitions>,
        validate_only: bool,
        _timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>> {
        let changes = topics.into_iter().map(Change::CreatePartitions).collect();
        Box::pin(self.change_each(changes, validate_only))
    }

    fn alter_configs(
        &self,
        resources: Vec<AlterConfigs>,
        validate_only: bool,
        _timeout: Duration,
    ) -> BoxFuture<'_, Answers<()>> {
        let changes = resources.into_iter().map(Change::AlterConfigs).collect();
        Box::pin(self.change_each(changes, validate_only))
    }

    fn elect_preferred(
        &self,
        partitions: BTreeSet<(TopicId, PartitionIndex)>,
        _timeout: Duration,
    ) -> BoxFuture<'_, Elections> {
        self.calls.fetch_add(1, SeqCst);
        let elect = |(topic, index): (TopicId, PartitionIndex)| {
            let preferred = self.image().topic_by_id(topic).unwrap().replicas(index).unwrap()[0];
            let (leader, epoch) = self.leader_of(topic, index).unwrap();
            if leader == preferred {
                return Err(ElectionError::NotNeeded);
            }
            if !self.alive().contains(&preferred) {
                return Err(ElectionError::NotAvailable("it is down".into()));
            }
            self.elect(topic, index.0, preferred.0, epoch.0 + 1);
            Ok(())
        };
        let elected = partitions.into_iter().map(|partition| (partition, elect(partition)));
        Box::pin(std::future::ready(elected.collect()))
    }

    fn allocate_producer_ids(
        &self,
        _timeout: Duration,
    ) -> BoxFuture<'_, Result<Range<i64>, MetadataError>> {
        Box::pin(async move {
            let command = Command::AllocateProducerIds { broker: BrokerId(1) };
            let answer = self.change(vec![Change::Command(command)], false).await?.remove(0);
            match answer {
                Ok((_, CommandReply::ProducerIds { first: ProducerId(first), count })) => {
                    Ok(first..first + i64::from(count))
                }
                other => panic!("{other:?}"),
            }
        })
    }
}

/// A message as its receiver sees it: everything that the version cannot carry is gone, and what
/// the version cannot express panics.
pub(super) fn sent<M: KafkaEncode + KafkaDecode>(message: &M, version: i16) -> M {
    let mut bytes = BytesMut::new();
    message.encode_into(&mut bytes, ApiVersion::new(version)).unwrap();
    let bytes = bytes.freeze();
    let mut decoder = Decoder::new(bytes.clone(), decode_limits(bytes.len())).unwrap();
    M::decode(&mut decoder, ApiVersion::new(version)).unwrap()
}

/// A refusal that tests compare by its words.
pub(super) fn words(message: &Option<kafka_wire_core::StrBytes>) -> &str {
    message.as_deref().unwrap_or_default()
}

/// A port's failure.
pub(super) fn unavailable() -> MetadataError {
    MetadataError::Unavailable
}
