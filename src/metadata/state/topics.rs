//! Applying the creation, growth and deletion of topics.
//!
//! **Invariant:** the controller has validated and placed; what is checked again here is what
//! another command may have changed since, and what would break the state itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::State;
use super::pairs::Key;
use crate::metadata::command::CommandReply;
use crate::metadata::image::TopicImage;
use crate::metadata::record::NewTopic;
use crate::metadata::refusal::Refusal;
use crate::metadata::topic_name::{self, TopicNameError};
use crate::model::{BrokerId, TopicId};

/// Every partition needs replicas, none of them twice.
fn check_replicas(partitions: &[Vec<BrokerId>]) -> Result<(), Refusal> {
    if partitions.is_empty() {
        return Err(Refusal::Partitions("A topic needs at least one partition.".into()));
    }
    for replicas in partitions {
        let distinct: BTreeSet<_> = replicas.iter().collect();
        if replicas.is_empty() || distinct.len() != replicas.len() {
            return Err(Refusal::Assignment(
                "Every partition needs at least one replica, and each broker at most once.".into(),
            ));
        }
    }
    Ok(())
}

impl State {
    pub(super) fn create_topic(&mut self, topic: NewTopic) -> Result<CommandReply, Refusal> {
        topic_name::validate(&topic.name).map_err(Refusal::TopicName)?;
        check_replicas(&topic.partitions)?;
        if self.image.topic(&topic.name).is_some() {
            return Err(Refusal::TopicExists(topic.name));
        }
        if let Some(existing) = self.image.colliding(&topic.name) {
            let existing = existing.to_string();
            return Err(Refusal::TopicName(TopicNameError::Collision {
                name: topic.name,
                existing,
            }));
        }
        if topic.id.is_zero() || self.image.topic_by_id(topic.id).is_some() {
            return Err(Refusal::Conflict);
        }
        self.touched.insert(Key::Topic(topic.id));
        self.image_mut().put_topic(Arc::new(TopicImage {
            name: topic.name.into(),
            id: topic.id,
            partitions: topic.partitions,
            configs: topic.configs,
        }));
        Ok(CommandReply::Done)
    }

    pub(super) fn delete_topic(&mut self, id: TopicId) -> Result<CommandReply, Refusal> {
        if self.image.topic_by_id(id).is_none() {
            return Err(Refusal::UnknownTopicId(id));
        }
        let topic = self.image_mut().remove_topic(id).expect("found just above");
        self.touched.insert(Key::Topic(id));
        self.remove_offsets_of_topic(&topic.name);
        Ok(CommandReply::Done)
    }

    pub(super) fn create_partitions(
        &mut self,
        id: TopicId,
        from: u32,
        partitions: Vec<Vec<BrokerId>>,
    ) -> Result<CommandReply, Refusal> {
        let topic = self.image.topic_by_id(id).ok_or(Refusal::UnknownTopicId(id))?;
        if topic.partitions.len() != from as usize {
            return Err(Refusal::Conflict);
        }
        check_replicas(&partitions)?;
        let mut topic = (**topic).clone();
        topic.partitions.extend(partitions);
        self.touched.insert(Key::Topic(id));
        self.image_mut().put_topic(Arc::new(topic));
        Ok(CommandReply::Done)
    }
}
