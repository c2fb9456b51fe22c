//! Votes and commit positions of all Raft groups of this node, in one store.
//!
//! ```text
//! owner: group id     kind: 'v' vote │ 'c' commit position │ 'r' refilling │ 'u' unproven
//! value:                    17 bytes │ u64 term, u64 index │ none          │ none
//!                                    │ u8 1: on this disk  │
//! ```
//!
//! **Invariant:** a vote is on disk before the future of its save resolves; votes of many groups that
//! come together share one sync.
//! **Invariant:** a commit position may be older than the truth, never newer. What it names was on this
//! node's disk before it was written: a log that ends before it has lost something. So it is written behind,
//! when nothing waits for it, and put on the disk once a second while any moves.
//! **Invariant:** where votes may be lost, every group that has a log on this node, or of which the stored
//! metadata says that the node is a member, is marked as unproven before anything else is written: one whose
//! log is gone as well must not pass for new.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use jackdaw_raft::{BoxFuture, GroupId, HardState, HardStateStore, LogId, Vote};
use tokio::sync::Notify;

use super::lock;
use crate::metadata::{KvPairs, partition_group};
use crate::model::mutant;
use crate::storage::kv::Kv;
use crate::storage::{
    DataDir, Found, Recovered, StableError, StableKey, StableStore, StableValue, Storage,
};

/// How long commit positions may stay unwritten. They cost a restart at most that much of replay, and are
/// what tells a loss from an unfinished write behind a log's recovery point.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Groups that are looked at while a lock is held that commits wait for.
const CHECKPOINT_GROUPS: usize = 256;

/// The entry at a group's commit position, or the last one before it that is on this disk; `None` where the
/// group's log is not open.
pub(super) type OnDisk = dyn Fn(GroupId, LogId) -> Option<LogId> + Send + Sync;

const VOTE: u8 = b'v';
const COMMITTED: u8 = b'c';
/// Behind a commit position: the entry was on this disk when it was written.
const ON_DISK: u8 = 1;
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
        let groups = || groups_of_node(data_dir, kv);
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
    pub(super) async fn run(self: Arc<Self>, on_disk: Arc<OnDisk>) {
        loop {
            self.moved.notified().await;
            tokio::time::sleep(CHECKPOINT_EVERY).await;
            if let Err(error) = self.checkpoint_durably(&on_disk).await {
                tracing::warn!(%error, "commit positions cannot be written");
            }
        }
    }

    async fn checkpoint_durably(self: &Arc<Self>, on_disk: &Arc<OnDisk>) -> io::Result<()> {
        let (states, on_disk) = (Arc::clone(self), Arc::clone(on_disk));
        let written = jackdaw_raft::apart(move || states.checkpoint(&*on_disk)).await;
        written.map_err(io::Error::other)??;
        self.store.durable().await
    }

    /// Writes the commit positions that have moved since the last time, without a sync.
    fn checkpoint(&self, on_disk: &OnDisk) -> Result<(), StableError> {
        let unwritten = std::mem::take(&mut lock(&self.committed).unwritten);
        for groups in Vec::from_iter(unwritten).chunks(CHECKPOINT_GROUPS) {
            // Held until they are in the store: what is forgotten meanwhile stays forgotten.
            let committed = lock(&self.committed);
            let change = |group: &GroupId| {
                let at = on_disk(*group, (*committed.known.get(group)?)?)?;
                Some((key(*group, COMMITTED), Some(StableValue::new(&encode(at)))))
            };
            self.store.apply(groups.iter().filter_map(change));
        }
        self.store.write_behind()
    }

    /// Puts everything on disk, so that the next start finds it as it is.
    pub(super) fn close(&self, on_disk: &OnDisk) -> Result<(), StableError> {
        self.checkpoint(on_disk)?;
        self.store.close()
    }

    /// The index of the last entry of which it is remembered that it was committed and on this disk.
    pub(super) fn durable_index(&self, group: GroupId) -> io::Result<Option<u64>> {
        let value = self.store.get(&key(group, COMMITTED));
        let position = value.map(|value| decode(value.as_bytes())).transpose()?;
        Ok(position.filter(|position| position.is_durable).map(|position| position.at.index))
    }

    /// Forgets the commit position of a group whose log may end before it. On disk when this returns.
    pub(super) fn forget_position(&self, group: GroupId) -> Result<(), StableError> {
        self.store.apply(self.forget_committed(group));
        self.store.sync_blocking()
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

    /// Forgets a commit position; the change that makes the disk forget it.
    fn forget_committed(&self, group: GroupId) -> Vec<(StableKey, Option<StableValue>)> {
        let mut state = lock(&self.committed);
        state.known.remove(&group);
        state.unwritten.remove(&group);
        self.removals(group, [COMMITTED])
    }
}

/// A stored commit position.
struct Position {
    at: LogId,
    /// The entry was on this disk; older versions did not look.
    is_durable: bool,
}

/// What is remembered of the commit position of `group`, by whoever opens nothing for writing.
pub(super) fn committed_in(recovered: &Recovered, group: GroupId) -> io::Result<Option<LogId>> {
    let value = recovered.values().get(&key(group, COMMITTED));
    let position = value.map(|value| decode(value.as_bytes())).transpose()?;
    Ok(position.map(|position| position.at))
}

/// All groups that this node may have voted in: those of which it has a log, or that it knew to be its own.
fn groups_of_node(data_dir: &DataDir, kv: &Kv) -> Result<BTreeSet<GroupId>> {
    let folders = data_dir.partitions()?.folders;
    // A log that cannot say whose it is is damaged, and not opened without a vote.
    let logs = folders.into_iter().filter_map(|folder| folder.identity.ok().flatten());
    let mut groups: BTreeSet<_> =
        logs.map(|log| partition_group(log.topic_id, log.partition)).collect();
    groups.extend(data_dir.metadata_dir().exists().then_some(GroupId::METADATA));
    groups.extend(KvPairs::open(kv)?.groups_of(data_dir.identity().node_id)?);
    Ok(groups)
}

/// Notes that newer votes than those that are left may have been given. Commit positions may be those of a
/// log that was lost since, and are let go.
fn mark_unproven(
    recovered: &mut Recovered,
    data_dir: &DataDir,
    why: &str,
    groups: BTreeSet<GroupId>,
) {
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

fn encode(log_id: LogId) -> [u8; 17] {
    let mut bytes = [ON_DISK; 17];
    bytes[..8].copy_from_slice(&log_id.term.to_be_bytes());
    bytes[8..16].copy_from_slice(&log_id.index.to_be_bytes());
    bytes
}

fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let bytes = bytes.try_into().map_err(|_| io::Error::other("a stored vote is damaged"))?;
    Vote::from_bytes(bytes).map_err(io::Error::other)
}

fn decode(bytes: &[u8]) -> io::Result<Position> {
    let damaged = || io::Error::other("a stored commit position is damaged");
    let (at, is_durable) = match bytes {
        [at @ .., ON_DISK] if at.len() == 16 => (at, true),
        at => (at, false),
    };
    let at: &[u8; 16] = at.try_into().map_err(|_| damaged())?;
    let (term, index) = at.split_at(8);
    let number = |part: &[u8]| part.try_into().map(u64::from_be_bytes).map_err(|_| damaged());
    Ok(Position { at: LogId { term: number(term)?, index: number(index)? }, is_durable })
}

impl HardStateStore for HardStates {
    fn load(&self, group: GroupId) -> io::Result<HardState> {
        let vote = self.store.get(&key(group, VOTE));
        let committed = self.store.get(&key(group, COMMITTED));
        Ok(HardState {
            vote: vote.map(|value| decode_vote(value.as_bytes())).transpose()?,
            committed: committed.map(|value| decode(value.as_bytes())).transpose()?.map(|p| p.at),
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
            changes.extend(self.forget_committed(group));
        }
        self.save(changes)
    }

    fn save_unproven(&self, group: GroupId, unproven: bool) -> BoxFuture<'static, io::Result<()>> {
        self.save(self.mark(group, UNPROVEN, unproven))
    }

    fn forget(&self, group: GroupId) -> BoxFuture<'static, io::Result<()>> {
        let mut changes = self.forget_committed(group);
        changes.extend(self.removals(group, [REFILLING, UNPROVEN, VOTE]));
        self.save(changes)
    }
}

#[cfg(test)]
mod tests;
