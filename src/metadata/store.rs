//! Where the state is kept between starts: pairs in a key-value store.
//!
//! ```text
//! a   position of the state: PositionRecord (below)
//! s   present once a snapshot was built or installed, so that the log may lack its beginning
//! …   the state's own pairs (state::pairs)
//! ```
//!
//! **Invariant:** the position is written in the same batch as the changes that lead to it. The
//! store is an index of the log: a write may be lost with the machine, since the log replays it,
//! as long as [`PairStore::flush`] precedes every purge of the log.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use jackdaw_raft::{GroupId, LogId, Membership, StoredMembership};
use serde::{Deserialize, Serialize};

use super::command::{decode, encode};
use super::error::invalid;
use super::handle::partition_group;
use super::state::{Pair, PairChange, State};
use crate::model::{BrokerId, PartitionIndex};
use crate::storage::kv::{Batch, Kv, KvError, Tree};

/// A key-value store with atomic batches.
pub trait PairStore: Send + Sync + 'static {
    /// All pairs.
    ///
    /// # Errors
    /// Those of the disk.
    fn load(&self) -> io::Result<Vec<Pair>>;

    /// Makes all changes or none. On disk after the next [`Self::flush`] at the latest.
    ///
    /// # Errors
    /// Those of the disk.
    fn write(&self, changes: Vec<PairChange>) -> io::Result<()>;

    /// Puts `pairs` in the place of all that is there, in one batch.
    ///
    /// # Errors
    /// Those of the disk.
    fn replace(&self, pairs: Vec<Pair>) -> io::Result<()>;

    /// Returns when everything written before is on disk.
    ///
    /// # Errors
    /// Those of the disk.
    fn flush(&self) -> io::Result<()>;
}

/// A [`PairStore`] in a tree of its own in the node's key-value store.
#[derive(Clone)]
pub struct KvPairs {
    kv: Kv,
    tree: Tree,
}

impl KvPairs {
    /// The tree called `metadata` of `kv`, made if it is not there.
    ///
    /// # Errors
    /// Those of the disk, or damage.
    pub fn open(kv: &Kv) -> Result<Self, KvError> {
        Ok(Self { kv: kv.clone(), tree: kv.tree("metadata")? })
    }

    /// The groups that `broker` is a member of by what is stored, the metadata group among them.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` where this build cannot read it.
    pub fn groups_of(&self, broker: BrokerId) -> io::Result<Vec<GroupId>> {
        let Loaded { state, position, .. } = load(self)?;
        let mut groups = Vec::from_iter(position.applied.map(|_| GroupId::METADATA));
        for topic in state.image().topics_by_id.values() {
            for (index, replicas) in (0..).zip(&topic.partitions) {
                if replicas.contains(&broker) {
                    groups.push(partition_group(topic.id, PartitionIndex(index)));
                }
            }
        }
        Ok(groups)
    }

    /// The last entry of the metadata log that is in it.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` where this build cannot read it.
    pub fn applied(&self) -> io::Result<Option<LogId>> {
        let position = self.tree.get(POSITION_KEY)?;
        let position = position.map(|bytes| Position::from_bytes(&bytes)).transpose()?;
        Ok(position.and_then(|position| position.applied))
    }
}

impl PairStore for KvPairs {
    fn load(&self) -> io::Result<Vec<Pair>> {
        let pairs = self.tree.iter().map(|pair| {
            let (key, value) = pair?;
            Ok((key.to_vec(), value.to_vec()))
        });
        pairs.collect()
    }

    fn write(&self, changes: Vec<PairChange>) -> io::Result<()> {
        let mut batch = Batch::new();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(&key, &value),
                None => batch.delete(&key),
            }
        }
        Ok(self.tree.apply(batch)?)
    }

    fn replace(&self, pairs: Vec<Pair>) -> io::Result<()> {
        let mut batch = Batch::new();
        for pair in self.tree.iter() {
            batch.delete(&pair?.0);
        }
        // A batch's later operation on a key counts.
        for (key, value) in pairs {
            batch.put(&key, &value);
        }
        Ok(self.tree.apply(batch)?)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(self.kv.flush()?)
    }
}

/// Where in the log a state stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    /// Bytes of entries applied since the last snapshot.
    pub(super) grown_bytes: u64,
}

const POSITION_KEY: &[u8] = b"a";
const SNAPSHOT_KEY: &[u8] = b"s";

#[derive(Serialize, Deserialize)]
struct PositionRecord {
    applied: Option<(u64, u64)>,
    membership_at: Option<(u64, u64)>,
    membership: Vec<u8>,
    grown_bytes: u64,
}

fn pair_of(id: LogId) -> (u64, u64) {
    (id.term, id.index)
}

fn id_of((term, index): (u64, u64)) -> LogId {
    LogId { term, index }
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Position {
    fn to_bytes(&self) -> Vec<u8> {
        encode(&PositionRecord {
            applied: self.applied.map(pair_of),
            membership_at: self.membership.log_id.map(pair_of),
            membership: self.membership.membership.to_bytes().to_vec(),
            grown_bytes: self.grown_bytes,
        })
    }

    fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let record: PositionRecord = decode(bytes).map_err(bad)?;
        let membership = Membership::from_bytes(Bytes::from(record.membership)).map_err(bad)?;
        let log_id = record.membership_at.map(id_of);
        Ok(Self {
            applied: record.applied.map(id_of),
            membership: StoredMembership { log_id, membership },
            grown_bytes: record.grown_bytes,
        })
    }

    /// The pair that stands for this position.
    pub(super) fn change(&self) -> PairChange {
        (POSITION_KEY.to_vec(), Some(self.to_bytes()))
    }
}

/// The mark that a snapshot was built or installed.
pub(super) fn snapshot_mark() -> PairChange {
    (SNAPSHOT_KEY.to_vec(), Some(Vec::new()))
}

/// What a store held.
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) position: Position,
    pub(super) has_snapshot: bool,
}

/// Reads the state and its position.
pub(super) fn load(store: &dyn PairStore) -> io::Result<Loaded> {
    let mut position = Position::default();
    let mut has_snapshot = false;
    let mut pairs = store.load()?;
    let mut fault = Ok(());
    pairs.retain(|(key, value)| {
        match key.as_slice() {
            POSITION_KEY => match Position::from_bytes(value) {
                Ok(read) => position = read,
                Err(error) => fault = Err(error),
            },
            SNAPSHOT_KEY => has_snapshot = true,
            _ => return true,
        }
        false
    });
    fault?;
    Ok(Loaded { state: State::from_pairs(pairs).map_err(invalid)?, position, has_snapshot })
}

/// A [`PairStore`] in memory: for tests, and for a node that keeps nothing.
#[derive(Debug, Default)]
pub struct MemPairs(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemPairs {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PairStore for MemPairs {
    fn load(&self) -> io::Result<Vec<Pair>> {
        Ok(self.with(|map| map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }

    fn write(&self, changes: Vec<PairChange>) -> io::Result<()> {
        self.with(|map| {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(map.insert(key, value)),
                    None => drop(map.remove(&key)),
                }
            }
        });
        Ok(())
    }

    fn replace(&self, pairs: Vec<Pair>) -> io::Result<()> {
        self.with(|map| *map = pairs.into_iter().collect());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jackdaw_raft::NodeId;

    use super::*;

    #[test]
    fn a_position_survives_its_bytes() {
        let voters = BTreeSet::from([NodeId(1), NodeId(2)]);
        let membership = Membership { configs: vec![voters.clone()], nodes: voters };
        let log_id = Some(LogId { term: 1, index: 0 });
        let position = Position {
            applied: Some(LogId { term: 3, index: 9 }),
            membership: StoredMembership { log_id, membership },
            grown_bytes: 77,
        };
        let store = MemPairs::default();
        store.write(vec![position.change(), snapshot_mark()]).unwrap();
        let loaded = load(&store).unwrap();
        assert_eq!(loaded.position, position);
        assert!(loaded.has_snapshot);
        assert_eq!(loaded.state, State::new());
    }

    #[test]
    fn an_unreadable_position_is_an_error() {
        let store = MemPairs::default();
        store.write(vec![(POSITION_KEY.to_vec(), Some(b"\x09".to_vec()))]).unwrap();
        assert!(load(&store).is_err());
    }
}
