//! Votes and commit positions of all Raft groups of this node, in one store.
//!
//! ```text
//! owner: group id     kind: 'v' vote │ 'c' commit position │ 'r' refilling │ 'u' unproven
//! value:                    17 bytes │ u64 term, u64 index │ none          │ none
//! ```
//!
//! **Invariant:** a vote is on disk before the future of its save resolves; votes of many groups that
//! come together share one sync.
//! **Invariant:** a commit position may be older than the truth, never newer: it is a checkpoint that
//! spares a restart some work. So it is written behind, when nothing waits for it.
//! **Invariant:** where votes may be lost, every group that has a log on this node is marked as unproven
//! before anything else is written.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use jackdaw_raft::{BoxFuture, GroupId, HardState, HardStateStore, LogId, Vote};
use tokio::sync::Notify;

use super::lock;
use crate::metadata::partition_group;
use crate::model::mutant;
use crate::storage::kv::Kv;
use crate::storage::{
    DataDir, Found, Recovered, StableError, StableKey, StableStore, StableValue, Storage,
};

/// How long commit positions may stay unwritten. They cost a restart at most that much of replay.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

const VOTE: u8 = b'v';
const COMMITTED: u8 = b'c';
/// Present while the group's log was lost and is not complete again.
const REFILLING: u8 = b'r';
/// Present while a newer vote than the one that is remembered may have been given.
const UNPROVEN: u8 = b'u';

/// The tree of the key-value store that held all this in older versions.
const OLD_TREE: &str = "hard_state";

/// The node's hard states.
pub(super) struct HardStates {
    store: StableStore,
    committed: Mutex<Committed>,
    moved: Notify,
}

#[derive(Default)]
struct Committed {
    known: HashMap<GroupId, Option<LogId>>,
    unwritten: HashSet<GroupId>,
}

fn key(group: GroupId, kind: u8) -> StableKey {
    StableKey { owner: group.to_bytes(), kind }
}

impl HardStates {
    /// Opens the node's hard states; [`Self::run`] then keeps the commit positions. `kv` may hold those of
    /// an older version.
    pub(super) fn open(data_dir: &DataDir, storage: &Storage, kv: &Kv) -> Result<Arc<Self>> {
        let mut recovered = Recovered::read(&data_dir.votes_dir())?;
        let old = kv.old_tree(OLD_TREE)?;
        let groups = || groups_with_logs(data_dir);
        match (recovered.found(), &old) {
            (Found::Nothing, Some(pairs)) => import(&mut recovered, pairs),
            (Found::Nothing, None) => {
                mark_unproven(&mut recovered, data_dir, "are gone", groups()?)
            }
            (Found::Lost, _) => {
                mark_unproven(&mut recovered, data_dir, "are damaged in both copies", groups()?);
            }
            (Found::Whole, _) => {}
        }
        let store = recovered.open(storage)?;
        if old.is_some() {
            kv.remove_tree(OLD_TREE)?;
        }
        Ok(Self::with(store))
    }

    fn with(store: StableStore) -> Arc<Self> {
        Arc::new(Self { store, committed: Mutex::default(), moved: Notify::new() })
    }

    /// Writes commit positions behind, until aborted; sleeps while none has moved.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.moved.notified().await;
            tokio::time::sleep(CHECKPOINT_EVERY).await;
            let states = Arc::clone(&self);
            match jackdaw_raft::apart(move || states.checkpoint()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "commit positions cannot be written"),
                Err(error) => tracing::warn!(%error, "commit positions cannot be written"),
            }
        }
    }

    /// Writes the commit positions that have moved since the last time, without a sync.
    fn checkpoint(&self) -> Result<(), StableError> {
        let moved: Vec<_> = {
            let mut committed = lock(&self.committed);
            let unwritten = std::mem::take(&mut committed.unwritten);
            let position = |group| Some((group, (*committed.known.get(&group)?)?));
            unwritten.into_iter().filter_map(position).collect()
        };
        let change = |(group, at)| (key(group, COMMITTED), Some(StableValue::new(&encode(at))));
        self.store.apply(moved.into_iter().map(change));
        self.store.write_behind()
    }

    /// Puts everything on disk, so that the next start finds it as it is.
    pub(super) fn close(&self) -> Result<(), StableError> {
        self.checkpoint()?;
        self.store.close()
    }

    fn save(
        &self,
        changes: impl IntoIterator<Item = (StableKey, Option<StableValue>)>,
    ) -> BoxFuture<'static, io::Result<()>> {
        self.store.apply(changes);
        if mutant::is_on("vote-not-synced") {
            return Box::pin(async { Ok(()) });
        }
        Box::pin(self.store.durable())
    }

    /// Changes that take back what is remembered, as far as anything is.
    fn removals(
        &self,
        group: GroupId,
        kinds: impl IntoIterator<Item = u8>,
    ) -> Vec<(StableKey, Option<StableValue>)> {
        let keys = kinds.into_iter().map(|kind| key(group, kind));
        keys.filter(|key| self.store.get(key).is_some()).map(|key| (key, None)).collect()
    }

    fn mark(
        &self,
        group: GroupId,
        kind: u8,
        is_set: bool,
    ) -> Vec<(StableKey, Option<StableValue>)> {
        match is_set {
            true => vec![(key(group, kind), Some(StableValue::new(&[])))],
            false => self.removals(group, [kind]),
        }
    }

    fn forget_committed(&self, group: GroupId) {
        let mut state = lock(&self.committed);
        state.known.remove(&group);
        state.unwritten.remove(&group);
    }
}

/// What is remembered of the commit position of `group`, by whoever opens nothing for writing.
pub(super) fn committed_in(recovered: &Recovered, group: GroupId) -> io::Result<Option<LogId>> {
    let value = recovered.values().get(&key(group, COMMITTED));
    value.map(|value| decode(value.as_bytes())).transpose()
}

/// The groups of which this node has a log: all that it may have voted in.
fn groups_with_logs(data_dir: &DataDir) -> Result<Vec<GroupId>> {
    let folders = data_dir.partitions()?.folders;
    // A log that cannot say whose it is is damaged, and not opened without a vote.
    let logs = folders.into_iter().filter_map(|folder| folder.identity.ok().flatten());
    let mut groups: Vec<_> = logs.map(|log| partition_group(log.topic_id, log.partition)).collect();
    groups.extend(data_dir.metadata_dir().exists().then_some(GroupId::METADATA));
    Ok(groups)
}

/// Notes that newer votes than those that are left may have been given. Commit positions may be those of a
/// log that was lost since, and are let go.
fn mark_unproven(recovered: &mut Recovered, data_dir: &DataDir, why: &str, groups: Vec<GroupId>) {
    if groups.is_empty() {
        return;
    }
    tracing::warn!(
        dir = %data_dir.votes_dir().display(), groups = groups.len(),
        "the votes of this node {why}: its replicas neither vote nor take records until they have heard \
         from all other replicas where those stand"
    );
    for group in groups {
        recovered.remove(&key(group, COMMITTED));
        recovered.put(key(group, UNPROVEN), StableValue::new(&[]));
    }
}

fn import(recovered: &mut Recovered, pairs: &[(bytes::Bytes, bytes::Bytes)]) {
    for (old, value) in pairs {
        if let Ok([owner @ .., kind]) = <[u8; 21]>::try_from(&old[..])
            && value.len() <= StableValue::BYTES_MAX
        {
            recovered.put(StableKey { owner, kind }, StableValue::new(value));
        }
    }
    tracing::info!(records = pairs.len(), "votes are taken over from the key-value store");
}

fn encode(log_id: LogId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&log_id.term.to_be_bytes());
    bytes[8..].copy_from_slice(&log_id.index.to_be_bytes());
    bytes
}

fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let bytes = bytes.try_into().map_err(|_| io::Error::other("a stored vote is damaged"))?;
    Vote::from_bytes(bytes).map_err(io::Error::other)
}

fn decode(bytes: &[u8]) -> io::Result<LogId> {
    let damaged = || io::Error::other("a stored commit position is damaged");
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| damaged())?;
    let (term, index) = bytes.split_at(8);
    let number = |part: &[u8]| part.try_into().map(u64::from_be_bytes).map_err(|_| damaged());
    Ok(LogId { term: number(term)?, index: number(index)? })
}

impl HardStateStore for HardStates {
    fn load(&self, group: GroupId) -> io::Result<HardState> {
        let vote = self.store.get(&key(group, VOTE));
        let committed = self.store.get(&key(group, COMMITTED));
        Ok(HardState {
            vote: vote.map(|value| decode_vote(value.as_bytes())).transpose()?,
            committed: committed.map(|value| decode(value.as_bytes())).transpose()?,
            refilling: self.store.get(&key(group, REFILLING)).is_some(),
            unproven: self.store.get(&key(group, UNPROVEN)).is_some(),
        })
    }

    fn save_vote(&self, group: GroupId, vote: Vote) -> BoxFuture<'static, io::Result<()>> {
        if mutant::is_on("vote-forgotten") {
            return self.save([]);
        }
        self.save([(key(group, VOTE), Some(StableValue::new(&vote.to_bytes())))])
    }

    fn save_committed(&self, group: GroupId, committed: Option<LogId>) {
        let mut state = lock(&self.committed);
        state.known.insert(group, committed);
        let first = state.unwritten.is_empty();
        state.unwritten.insert(group);
        if first {
            self.moved.notify_one();
        }
    }

    fn save_refilling(
        &self,
        group: GroupId,
        refilling: bool,
    ) -> BoxFuture<'static, io::Result<()>> {
        let mut changes = self.mark(group, REFILLING, refilling);
        if refilling {
            self.forget_committed(group);
            changes.extend(self.removals(group, [COMMITTED]));
        }
        self.save(changes)
    }

    fn save_unproven(&self, group: GroupId, unproven: bool) -> BoxFuture<'static, io::Result<()>> {
        self.save(self.mark(group, UNPROVEN, unproven))
    }

    fn forget(&self, group: GroupId) -> BoxFuture<'static, io::Result<()>> {
        self.forget_committed(group);
        self.save(self.removals(group, [REFILLING, UNPROVEN, VOTE, COMMITTED]))
    }
}

#[cfg(test)]
mod tests;
