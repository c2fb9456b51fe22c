//! Turns what is asked for into commands: validates, fills in defaults, places replicas.
//!
//! **Invariant:** pure: image, live brokers and defaults in, a command or a refusal out. Each
//! planned command is drawn into the planner's own image, so that the changes of one request see
//! one another. The refusals' words are those of Kafka's `ReplicationControlManager`.

mod alter;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::metadata::change::{Change, CreatePartitions, CreateTopic, TopicSelector};
use crate::metadata::command::Command;
use crate::metadata::configs::{self, ConfigMap};
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::placement::{self, Candidate};
use crate::metadata::record::NewTopic;
use crate::metadata::refusal::Refusal;
use crate::metadata::topic_name::{self, TopicNameError};
use crate::model::{BrokerId, PartitionIndex, TopicId};

/// Most partitions that one request may create (`ReplicationControlManager`).
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// What a request that leaves things open gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
}

/// Plans the changes of one request.
pub(crate) struct Planner<'a> {
    image: Arc<MetadataImage>,
    alive: &'a BTreeSet<BrokerId>,
    defaults: TopicDefaults,
    statics: &'a ConfigMap,
    created: usize,
}

type Replicas = Vec<Vec<BrokerId>>;

impl<'a> Planner<'a> {
    pub(crate) fn new(
        image: Arc<MetadataImage>,
        alive: &'a BTreeSet<BrokerId>,
        defaults: TopicDefaults,
        statics: &'a ConfigMap,
    ) -> Self {
        Self { image, alive, defaults, statics, created: 0 }
    }

    /// The command that makes `change`.
    pub(crate) fn plan(&mut self, change: Change) -> Result<Command, Refusal> {
        match change {
            Change::Command(command) => Ok(command),
            Change::CreateTopic(topic) => self.create_topic(topic),
            Change::DeleteTopic(selector) => self.delete_topic(selector),
            Change::CreatePartitions(wanted) => self.create_partitions(wanted),
            Change::AlterConfigs(alter) => self.alter_configs(alter),
        }
    }

    fn create_topic(&mut self, wanted: CreateTopic) -> Result<Command, Refusal> {
        self.check_name(&wanted.name)?;
        let partitions = if wanted.assignments.is_empty() {
            self.place_topic(&wanted)?
        } else {
            self.check_assignments(&wanted)?
        };
        let configs = topic_configs(wanted.configs)?;
        configs::check_topic(&configs, partitions[0].len())?;
        self.count_partitions(partitions.len())?;
        let topic = NewTopic { name: wanted.name, id: TopicId::random(), partitions, configs };
        Arc::make_mut(&mut self.image).put_topic(Arc::new(TopicImage {
            name: topic.name.as_str().into(),
            id: topic.id,
            partitions: topic.partitions.clone(),
            configs: topic.configs.clone(),
        }));
        Ok(Command::CreateTopic(topic))
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        topic_name::validate(name).map_err(Refusal::TopicName)?;
        if name == topic_name::CLUSTER_METADATA {
            return Err(Refusal::TopicReserved(name.to_owned()));
        }
        if self.image.topic(name).is_some() {
            return Err(Refusal::TopicExists(name.to_owned()));
        }
        match self.image.colliding(name) {
            None => Ok(()),
            Some(existing) => Err(Refusal::TopicName(TopicNameError::Collision {
                name: name.to_owned(),
                existing: existing.to_string(),
            })),
        }
    }

    fn place_topic(&self, wanted: &CreateTopic) -> Result<Replicas, Refusal> {
        let replication = match wanted.replication_factor {
            -1 => self.defaults.replication_factor,
            asked => asked,
        };
        let count = match wanted.partitions {
            -1 => self.defaults.partitions,
            asked => asked,
        };
        if replication <= 0 {
            return Err(Refusal::ReplicationFactor(
                "Replication factor must be larger than 0, or -1 to use the default value.".into(),
            ));
        }
        if count <= 0 {
            return Err(Refusal::Partitions(
                "Number of partitions was set to an invalid non-positive value.".into(),
            ));
        }
        let (count, replication) = (count as usize, replication as usize);
        if count > PARTITIONS_PER_REQUEST_MAX {
            return Err(too_many());
        }
        self.place(&[], count, replication)
    }

    fn place(
        &self,
        existing: &[Vec<BrokerId>],
        count: usize,
        replication: usize,
    ) -> Result<Replicas, Refusal> {
        let candidates = self.candidates(replication);
        let placed = placement::place(&candidates, existing, count, replication);
        placed.map_err(|error| {
            Refusal::ReplicationFactor(format!(
                "Unable to replicate the partition {replication} time(s): {error}"
            ))
        })
    }

    /// Brokers that may take replicas, the least loaded first: the live ones if they are enough. Else dead ones
    /// are preferred as leaders as often as others: until they are back, live replicas are elected.
    fn candidates(&self, replication: usize) -> Vec<Candidate> {
        let mut load: BTreeMap<BrokerId, (usize, usize)> = BTreeMap::new();
        for replicas in self.image.topics_by_id.values().flat_map(|topic| &topic.partitions) {
            for (rank, id) in replicas.iter().enumerate() {
                let (leads, holds) = load.entry(*id).or_default();
                *leads += usize::from(rank == 0);
                *holds += 1;
            }
        }
        let registered = self.image.brokers.keys().copied();
        let mut ids: Vec<BrokerId> =
            registered.clone().filter(|id| self.alive.contains(id)).collect();
        if ids.len() < replication {
            ids = registered.collect();
        }
        ids.sort_by_key(|id| (load.get(id).copied().unwrap_or_default(), *id));
        let rack = |id: &BrokerId| self.image.brokers[id].rack.clone();
        ids.iter().map(|id| Candidate { id: *id, rack: rack(id) }).collect()
    }

    fn check_assignments(&self, wanted: &CreateTopic) -> Result<Replicas, Refusal> {
        if wanted.replication_factor != -1 {
            return Err(Refusal::Request(
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1."
                    .into(),
            ));
        }
        if wanted.partitions != -1 {
            return Err(Refusal::Request(
                "A manual partition assignment was specified, but numPartitions was not set to -1."
                    .into(),
            ));
        }
        let mut by_index: BTreeMap<PartitionIndex, &Vec<BrokerId>> = BTreeMap::new();
        for (index, replicas) in &wanted.assignments {
            if by_index.insert(*index, replicas).is_some() {
                return Err(Refusal::Assignment(format!(
                    "Found multiple manual partition assignments for partition {index}"
                )));
            }
        }
        let mut partitions: Replicas = Vec::with_capacity(by_index.len());
        for (index, replicas) in by_index {
            let factor = partitions.first().map(Vec::len);
            self.check_assignment(index, replicas, factor)?;
            if usize::try_from(index.0) != Ok(partitions.len()) {
                return Err(Refusal::Assignment(
                    "partitions should be a consecutive 0-based integer sequence".into(),
                ));
            }
            partitions.push(replicas.clone());
        }
        Ok(partitions)
    }

    fn check_assignment(
        &self,
        partition: PartitionIndex,
        replicas: &[BrokerId],
        factor: Option<usize>,
    ) -> Result<(), Refusal> {
        let refuse = |text: String| {
            Err(Refusal::Assignment(format!("The manual partition assignment includes {text}")))
        };
        if replicas.is_empty() {
            return refuse("an empty replica list.".into());
        }
        let mut seen = BTreeSet::new();
        for id in replicas {
            if !self.image.brokers.contains_key(id) {
                return refuse(format!("broker {id}, but no such broker is registered."));
            }
            if !seen.insert(id) {
                return refuse(format!("the broker {id} more than once."));
            }
        }
        match factor {
            Some(factor) if factor != replicas.len() => {
                return refuse(format!(
                    "a partition with {} replica(s), but this is not consistent with previous \
                     partitions, which have {factor} replica(s).",
                    replicas.len()
                ));
            }
            Some(_) | None => {}
        }
        if replicas.iter().any(|id| self.alive.contains(id)) {
            return Ok(());
        }
        Err(Refusal::Assignment(format!(
            "All brokers specified in the manual partition assignment for partition {partition} \
             are fenced or in controlled shutdown."
        )))
    }

    fn count_partitions(&mut self, more: usize) -> Result<(), Refusal> {
        self.created += more;
        if self.created > PARTITIONS_PER_REQUEST_MAX { Err(too_many()) } else { Ok(()) }
    }

    fn delete_topic(&mut self, selector: TopicSelector) -> Result<Command, Refusal> {
        let id = match selector {
            TopicSelector::Id(id) => {
                self.image.topic_by_id(id).ok_or(Refusal::UnknownTopicId(id))?.id
            }
            TopicSelector::Name(name) => match self.image.topic(&name) {
                Some(topic) => topic.id,
                None => return Err(Refusal::UnknownTopic(name)),
            },
        };
        Arc::make_mut(&mut self.image).remove_topic(id);
        Ok(Command::DeleteTopic { id })
    }

    fn topic(&self, name: &str) -> Result<Arc<TopicImage>, Refusal> {
        self.image.topic(name).cloned().ok_or_else(|| Refusal::UnknownTopic(name.to_owned()))
    }

    fn create_partitions(&mut self, wanted: CreatePartitions) -> Result<Command, Refusal> {
        let topic = self.topic(&wanted.topic)?;
        let (name, has) = (&wanted.topic, topic.partitions.len());
        let count = usize::try_from(wanted.count).unwrap_or(0);
        if count == has {
            return Err(Refusal::Partitions(format!("Topic already has {has} partition(s).")));
        }
        if count < has {
            return Err(Refusal::Partitions(format!(
                "The topic {name} currently has {has} partition(s); {} would not be an increase.",
                wanted.count
            )));
        }
        let more = count - has;
        self.count_partitions(more)?;
        let factor = topic.replication_factor();
        let partitions = match wanted.assignments {
            None => self.place(&topic.partitions, more, factor)?,
            Some(assigned) if assigned.len() != more => {
                return Err(Refusal::Assignment(format!(
                    "Attempted to add {more} additional partition(s), but only {} assignment(s) \
                     were specified.",
                    assigned.len()
                )));
            }
            Some(assigned) => {
                for (index, replicas) in (has..).zip(&assigned) {
                    let index = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
                    self.check_assignment(index, replicas, Some(factor))?;
                }
                assigned
            }
        };
        let mut grown = (*topic).clone();
        grown.partitions.extend(partitions.iter().cloned());
        Arc::make_mut(&mut self.image).put_topic(Arc::new(grown));
        let from = u32::try_from(has).expect("a topic has far fewer partitions");
        Ok(Command::CreatePartitions { id: topic.id, from, partitions })
    }
}

fn too_many() -> Refusal {
    Refusal::Policy("Excessively large number of partitions per request.".into())
}

/// Configs of a new topic; of several values for one name the last counts.
fn topic_configs(configs: Vec<(String, Option<String>)>) -> Result<ConfigMap, Refusal> {
    let nulls: Vec<&str> = configs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !nulls.is_empty() {
        return Err(Refusal::Config(format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        )));
    }
    Ok(configs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

#[cfg(test)]
mod tests;
