//! The cluster as readers see it: an immutable [`MetadataImage`] and the [`MetadataDelta`] between
//! two of them.
//!
//! **Invariant:** an image never changes once published; a writer clones the maps (not the topics)
//! at most once per batch of applied entries. A delta is computed from the two images that its
//! reader holds, so that a reader who skipped some images misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::BrokerRegistration;
use super::topic_name;
use crate::model::{BrokerId, PartitionIndex, TopicId};

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Unique name.
    pub name: Arc<str>,
    /// Stable id.
    pub id: TopicId,
    /// Replicas of each partition; the first of each is the preferred leader.
    pub partitions: Vec<Vec<BrokerId>>,
    /// Configs set on the topic itself.
    pub configs: BTreeMap<String, String>,
}

impl TopicImage {
    /// Replicas of a partition, if there is such a partition.
    #[must_use]
    pub fn replicas(&self, partition: PartitionIndex) -> Option<&[BrokerId]> {
        let index = usize::try_from(partition.0).ok()?;
        self.partitions.get(index).map(Vec::as_slice)
    }

    /// Replicas per partition: that of the first, as Kafka counts it.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, Vec::len)
    }
}

/// Brokers, topics and dynamic configs at one point of the metadata log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataImage {
    /// Registered brokers, alive or not.
    pub brokers: BTreeMap<BrokerId, BrokerRegistration>,
    /// Topics by name.
    pub topics_by_name: BTreeMap<Arc<str>, Arc<TopicImage>>,
    /// The same topics by id.
    pub topics_by_id: BTreeMap<TopicId, Arc<TopicImage>>,
    /// Names of existing topics by [`topic_name::collision_key`].
    pub names_by_collision_key: BTreeMap<String, Arc<str>>,
    /// Dynamic configs of all brokers.
    pub cluster_configs: BTreeMap<String, String>,
    /// Dynamic configs of single brokers.
    pub broker_configs: BTreeMap<BrokerId, BTreeMap<String, String>>,
}

impl MetadataImage {
    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics_by_name.get(name)
    }

    /// The topic with that id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics_by_id.get(&id)
    }

    /// An existing topic whose name the new `name` would be confused with.
    #[must_use]
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.names_by_collision_key.get(&topic_name::collision_key(name))
    }

    /// Dynamic configs of one broker, empty if it has none.
    #[must_use]
    pub fn broker_config(&self, broker: BrokerId) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.broker_configs.get(&broker).unwrap_or(&NONE)
    }

    pub(super) fn put_topic(&mut self, topic: Arc<TopicImage>) {
        self.names_by_collision_key
            .insert(topic_name::collision_key(&topic.name), topic.name.clone());
        self.topics_by_name.insert(topic.name.clone(), topic.clone());
        self.topics_by_id.insert(topic.id, topic);
    }

    pub(super) fn remove_topic(&mut self, id: TopicId) -> Option<Arc<TopicImage>> {
        let topic = self.topics_by_id.remove(&id)?;
        self.topics_by_name.remove(&topic.name);
        self.names_by_collision_key.remove(&topic_name::collision_key(&topic.name));
        Some(topic)
    }
}

/// A topic that both images have, in two forms.
#[derive(Clone, Debug)]
pub struct TopicChange {
    /// As it was.
    pub before: Arc<TopicImage>,
    /// As it is.
    pub after: Arc<TopicImage>,
}

/// What differs between two images.
#[derive(Clone, Debug, Default)]
pub struct MetadataDelta {
    /// Topics (by id) that the newer image has alone. A topic made again is deleted and created.
    pub created: Vec<Arc<TopicImage>>,
    /// Topics that the older image has alone.
    pub deleted: Vec<Arc<TopicImage>>,
    /// Topics whose partitions or configs differ.
    pub changed: Vec<TopicChange>,
    /// Brokers whose registration is new or differs.
    pub brokers: Vec<BrokerId>,
    /// Whether a dynamic config of a broker or of all brokers differs.
    pub broker_configs_changed: bool,
}

impl MetadataDelta {
    /// What changed from `before` to `after`: linear in topics, most of them compared by pointer.
    #[must_use]
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> Self {
        let mut delta = Self::default();
        for (id, topic) in &after.topics_by_id {
            match before.topics_by_id.get(id) {
                None => delta.created.push(topic.clone()),
                Some(old) if Arc::ptr_eq(old, topic) || old == topic => {}
                Some(old) => {
                    delta.changed.push(TopicChange { before: old.clone(), after: topic.clone() });
                }
            }
        }
        let gone = |id: &&TopicId| !after.topics_by_id.contains_key(*id);
        delta.deleted = before
            .topics_by_id
            .keys()
            .filter(gone)
            .map(|id| before.topics_by_id[id].clone())
            .collect();
        delta.brokers = after
            .brokers
            .iter()
            .filter(|(id, broker)| before.brokers.get(id) != Some(broker))
            .map(|(id, _)| *id)
            .collect();
        delta.broker_configs_changed = before.cluster_configs != after.cluster_configs
            || before.broker_configs != after.broker_configs;
        delta
    }

    /// Whether the two images are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.created.is_empty()
            && self.deleted.is_empty()
            && self.changed.is_empty()
            && self.brokers.is_empty()
            && !self.broker_configs_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, id: u128, partitions: usize) -> Arc<TopicImage> {
        Arc::new(TopicImage {
            name: name.into(),
            id: TopicId(id),
            partitions: vec![vec![BrokerId(1)]; partitions],
            configs: BTreeMap::new(),
        })
    }

    #[test]
    fn a_delta_names_what_differs() {
        let mut before = MetadataImage::default();
        before.put_topic(topic("kept", 1, 1));
        before.put_topic(topic("grown", 2, 1));
        before.put_topic(topic("again", 3, 1));
        let mut after = before.clone();
        assert!(MetadataDelta::between(&before, &after).is_empty());

        after.put_topic(topic("grown", 2, 4));
        after.remove_topic(TopicId(3));
        after.put_topic(topic("again", 4, 1));
        let delta = MetadataDelta::between(&before, &after);
        assert_eq!(delta.created.iter().map(|t| t.id).collect::<Vec<_>>(), [TopicId(4)]);
        assert_eq!(delta.deleted.iter().map(|t| t.id).collect::<Vec<_>>(), [TopicId(3)]);
        assert_eq!(delta.changed.len(), 1);
        assert_eq!(delta.changed[0].after.partitions.len(), 4);
    }

    #[test]
    fn names_that_collide_are_found_until_the_topic_goes() {
        let mut image = MetadataImage::default();
        image.put_topic(topic("a.b", 1, 1));
        assert_eq!(image.colliding("a_b").map(|name| &**name), Some("a.b"));
        image.remove_topic(TopicId(1));
        assert_eq!(image.colliding("a_b"), None);
    }
}
