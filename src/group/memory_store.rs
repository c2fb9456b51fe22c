//! A [`GroupStore`] in memory for tests: fenced by term like the real one, with writes that can be
//! held back or made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use tokio::sync::{RwLock, RwLockWriteGuard};

use super::{
    CommittedOffset, GroupRecord, GroupStore, Loaded, OffsetCommit, OffsetEntry, StoreError, Term,
    TopicLookup,
};
use crate::model::{PartitionIndex, TopicId, TopicPartition};

type Offsets = BTreeMap<(String, i32), CommittedOffset>;

#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) term: u64,
    pub(crate) groups: BTreeMap<String, GroupRecord>,
    pub(crate) offsets: BTreeMap<String, Offsets>,
    /// Sizes of the batches of commits so far.
    pub(crate) batches: Vec<usize>,
    /// Another node may coordinate by now.
    pub(crate) is_stale: bool,
    /// Makes every following call fail.
    pub(crate) failure: Option<StoreError>,
}

/// The store; clones share it.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    gate: Arc<RwLock<()>>,
}

impl MemoryStore {
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    /// Holds every call back until the guard is dropped.
    pub(crate) async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    fn call<T: Send + 'static>(
        &self,
        term: Term,
        act: impl FnOnce(&mut Contents) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let Self { contents, gate } = self.clone();
        Box::pin(async move {
            let _open = gate.read().await;
            let mut contents = contents.lock().unwrap();
            if contents.term != term.0 {
                return Err(StoreError::NotCoordinator);
            }
            match contents.failure {
                Some(failure) => Err(failure),
                None => Ok(act(&mut contents)),
            }
        })
    }
}

impl GroupStore for MemoryStore {
    fn is_current(&self) -> bool {
        !self.contents().is_stale
    }

    fn load_all(&self, term: Term) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        self.call(term, |contents| Loaded {
            groups: contents.groups.values().cloned().collect(),
            offset_only: contents
                .offsets
                .keys()
                .filter(|group| !contents.groups.contains_key(*group))
                .map(|group| group.as_str().into())
                .collect(),
        })
    }

    fn put_group(
        &self,
        term: Term,
        record: GroupRecord,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(term, |contents| {
            contents.groups.insert(record.group.to_string(), record);
        })
    }

    fn delete_group(
        &self,
        term: Term,
        group: Arc<str>,
        generation: i32,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(term, move |contents| {
            let matches = contents.groups.get(&*group).is_some_and(|g| g.generation == generation);
            if matches && !contents.offsets.contains_key(&*group) {
                contents.groups.remove(&*group);
            }
        })
    }

    fn commit_offsets(
        &self,
        term: Term,
        batch: Vec<OffsetCommit>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(term, |contents| {
            contents.batches.push(batch.len());
            for commit in batch {
                let offsets = contents.offsets.entry(commit.group.to_string()).or_default();
                offsets.extend(commit.offsets.into_iter().map(|entry| {
                    let TopicPartition { topic, partition } = entry.partition;
                    ((topic.to_string(), partition.0), entry.committed)
                }));
            }
        })
    }

    fn delete_offsets(
        &self,
        term: Term,
        group: Arc<str>,
        entries: Vec<OffsetEntry>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(term, move |contents| {
            let Some(offsets) = contents.offsets.get_mut(&*group) else { return };
            for OffsetEntry { partition, committed } in entries {
                let key = (partition.topic.to_string(), partition.partition.0);
                if offsets.get(&key) == Some(&committed) {
                    offsets.remove(&key);
                }
            }
            if offsets.is_empty() {
                contents.offsets.remove(&*group);
            }
        })
    }

    fn offsets(
        &self,
        term: Term,
        group: Arc<str>,
    ) -> BoxFuture<'static, Result<Vec<OffsetEntry>, StoreError>> {
        self.call(term, move |contents| {
            let entry = |((topic, partition), committed): (&(String, i32), &CommittedOffset)| {
                let partition = TopicPartition::new(topic.as_str(), PartitionIndex(*partition));
                OffsetEntry { partition, committed: committed.clone() }
            };
            contents.offsets.get(&*group).into_iter().flatten().map(entry).collect()
        })
    }
}

/// Topics "t" (id 7) and "u" (id 8) with 600 partitions each.
pub(crate) struct TwoTopics;

impl TopicLookup for TwoTopics {
    fn partition_count(&self, topic: &str) -> Option<i32> {
        BTreeSet::from(["t", "u"]).contains(topic).then_some(600)
    }

    fn topic_id(&self, topic: &str) -> Option<TopicId> {
        match topic {
            "t" => Some(TopicId(7)),
            "u" => Some(TopicId(8)),
            _ => None,
        }
    }

    fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        match id {
            TopicId(7) => Some("t".into()),
            TopicId(8) => Some("u".into()),
            _ => None,
        }
    }
}
