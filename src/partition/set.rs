//! The partitions that run on this node.
//!
//! **Invariant:** only the reconciler adds and removes; everybody else looks up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Partition;
use crate::model::{PartitionIndex, TopicId};

/// A map from (topic id, index) to the running partition.
#[derive(Default)]
pub struct PartitionSet {
    running: RwLock<HashMap<(TopicId, PartitionIndex), Arc<Partition>>>,
}

impl PartitionSet {
    /// The partition if a replica of it runs here.
    #[must_use]
    pub fn get(&self, topic: TopicId, partition: PartitionIndex) -> Option<Arc<Partition>> {
        self.read().get(&(topic, partition)).map(Arc::clone)
    }

    /// All partitions that run here, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.read().values().map(Arc::clone).collect()
    }

    /// Makes a partition available to handlers.
    pub fn insert(&self, partition: Arc<Partition>) {
        let key = (partition.topic_id(), partition.name().partition);
        self.write().insert(key, partition);
    }

    /// Takes a partition out of reach of new requests.
    pub fn remove(&self, topic: TopicId, partition: PartitionIndex) -> Option<Arc<Partition>> {
        self.write().remove(&(topic, partition))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Key, Arc<Partition>>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Key, Arc<Partition>>> {
        self.running.write().unwrap_or_else(PoisonError::into_inner)
    }
}

type Key = (TopicId, PartitionIndex);
