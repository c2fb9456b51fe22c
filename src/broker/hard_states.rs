//! Votes and commit positions of all Raft groups of this node, in one store.
//!
//! ```text
//! key: group id, 20 bytes · 'v' | 'c' | 'r'      value: the vote's bytes, the log id's, none
//! ```
//!
//! **Invariant:** a vote is on disk before the future of its save resolves; votes of many groups that
//! come together share one flush.
//! **Invariant:** a commit position may be older than the truth, never newer: it is a checkpoint that
//! spares a restart some work. So it is written behind, when nothing waits for it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jackdaw_raft::{BoxFuture, GroupId, HardState, HardStateStore, LogId, Vote};
use tokio::sync::Notify;

use super::lock;
use crate::storage::kv::{Batch, Kv, KvError, Tree};

/// How long commit positions may stay unwritten. They cost a restart at most that much of replay.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

const VOTE: u8 = b'v';
const COMMITTED: u8 = b'c';
/// Present while the group's log was lost and is not complete again.
const REFILLING: u8 = b'r';

/// The node's hard states.
pub(super) struct HardStates {
    kv: Kv,
    tree: Tree,
    committed: Mutex<Committed>,
    moved: Notify,
}

#[derive(Default)]
struct Committed {
    known: HashMap<GroupId, Option<LogId>>,
    unwritten: HashSet<GroupId>,
}

fn key(group: GroupId, kind: u8) -> [u8; 21] {
    let mut key = [kind; 21];
    key[..20].copy_from_slice(&group.to_bytes());
    key
}

impl HardStates {
    /// Opens the node's hard states in `kv`; [`Self::run`] then keeps the commit positions.
    pub(super) fn open(kv: &Kv) -> Result<Arc<Self>, KvError> {
        Ok(Arc::new(Self {
            kv: kv.clone(),
            tree: kv.tree("hard_state")?,
            committed: Mutex::default(),
            moved: Notify::new(),
        }))
    }

    /// Writes commit positions behind, until aborted; sleeps while none has moved.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.moved.notified().await;
            tokio::time::sleep(CHECKPOINT_EVERY).await;
            if let Err(error) = self.checkpoint() {
                tracing::warn!(%error, "commit positions cannot be written");
            }
        }
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, io::Result<()>> {
        let committed = self.kv.commit(&self.tree, batch);
        Box::pin(async move { committed?.await })
    }

    /// Writes the commit positions that have moved since the last time, without a sync.
    pub(super) fn checkpoint(&self) -> Result<(), KvError> {
        let mut batch = Batch::new();
        {
            let mut committed = lock(&self.committed);
            for group in std::mem::take(&mut committed.unwritten) {
                if let Some(Some(log_id)) = committed.known.get(&group) {
                    batch.put(&key(group, COMMITTED), &encode(*log_id));
                }
            }
        }
        self.tree.apply(batch)
    }
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
        let vote = self.tree.get(&key(group, VOTE))?;
        let committed = self.tree.get(&key(group, COMMITTED))?;
        Ok(HardState {
            vote: vote.map(|bytes| decode_vote(&bytes)).transpose()?,
            committed: committed.map(|bytes| decode(&bytes)).transpose()?,
            refilling: self.tree.get(&key(group, REFILLING))?.is_some(),
        })
    }

    fn save_vote(&self, group: GroupId, vote: Vote) -> BoxFuture<'static, io::Result<()>> {
        let mut batch = Batch::new();
        batch.put(&key(group, VOTE), &vote.to_bytes());
        self.commit(batch)
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
        let mut batch = Batch::new();
        if refilling {
            let mut state = lock(&self.committed);
            state.known.remove(&group);
            state.unwritten.remove(&group);
            batch.put(&key(group, REFILLING), &[]);
            batch.delete(&key(group, COMMITTED));
        } else {
            batch.delete(&key(group, REFILLING));
        }
        self.commit(batch)
    }

    fn forget(&self, group: GroupId) -> BoxFuture<'static, io::Result<()>> {
        let mut state = lock(&self.committed);
        state.known.remove(&group);
        state.unwritten.remove(&group);
        let mut batch = Batch::new();
        batch.delete(&key(group, REFILLING));
        batch.delete(&key(group, VOTE));
        batch.delete(&key(group, COMMITTED));
        self.commit(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jackdaw_raft::NodeId;

    use super::*;
    use crate::storage::Storage;

    const GROUP: GroupId = GroupId { topic: 7, partition: 3 };

    fn open(path: &Path) -> Arc<HardStates> {
        let kv = Kv::open(path, &Storage::default()).unwrap();
        HardStates::open(&kv).unwrap()
    }

    #[tokio::test]
    async fn votes_and_commit_positions_survive_until_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let vote = Vote { term: 4, node: NodeId(2), committed: true };
        let committed = LogId { term: 3, index: 99 };
        {
            let states = open(dir.path());
            assert_eq!(states.load(GROUP).unwrap(), HardState::default());
            states.save_committed(GROUP, Some(committed));
            states.checkpoint().unwrap();
            states.save_vote(GROUP, vote).await.unwrap();
        }
        let states = open(dir.path());
        let expected = HardState { vote: Some(vote), committed: Some(committed), refilling: false };
        assert_eq!(states.load(GROUP).unwrap(), expected);
        states.save_refilling(GROUP, true).await.unwrap();
        let lost = HardState { vote: Some(vote), committed: None, refilling: true };
        assert_eq!(states.load(GROUP).unwrap(), lost);
        states.save_refilling(GROUP, false).await.unwrap();
        assert!(!states.load(GROUP).unwrap().refilling);
        states.forget(GROUP).await.unwrap();
        assert_eq!(states.load(GROUP).unwrap(), HardState::default());
    }
}
