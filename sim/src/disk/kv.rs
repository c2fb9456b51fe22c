//! The key-value store in the place of sled, whose threads cannot be simulated: maps in memory, of which a
//! crash leaves what was flushed and some of what was applied after that, in order.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use jackdaw::storage::Storage;
use jackdaw::storage::kv::{Change, KvError, OpenStore, Pairs, Store, StoreTree};
use rand::Rng;
use rand::rngs::SmallRng;

use super::volume::{State, Volume};

type Trees = BTreeMap<String, BTreeMap<Bytes, Bytes>>;

/// What a store holds.
#[derive(Default)]
pub(super) struct KvState {
    flushed: Trees,
    since: Vec<Step>,
    now: Trees,
}

enum Step {
    Make(String),
    Remove(String),
    Apply(String, Vec<Change>),
    Clear(String),
}

impl KvState {
    fn step(&mut self, step: Step) {
        apply(&mut self.now, &step);
        self.since.push(step);
    }

    fn flush(&mut self) {
        for step in self.since.drain(..) {
            apply(&mut self.flushed, &step);
        }
    }

    pub(super) fn crash(&mut self, random: &mut SmallRng) {
        let kept = random.random_range(0..=self.since.len());
        self.since.truncate(kept);
        self.flush();
        self.now = self.flushed.clone();
    }
}

fn apply(trees: &mut Trees, step: &Step) {
    match step {
        Step::Make(name) => drop(trees.entry(name.clone()).or_default()),
        Step::Remove(name) => drop(trees.remove(name)),
        Step::Clear(name) => {
            if let Some(tree) = trees.get_mut(name) {
                tree.clear();
            }
        }
        Step::Apply(name, changes) => {
            let tree = trees.entry(name.clone()).or_default();
            for (key, value) in changes {
                match value {
                    Some(value) => drop(tree.insert(key.clone(), value.clone())),
                    None => drop(tree.remove(key)),
                }
            }
        }
    }
}

/// Opens a volume's store, for one start of the node.
pub(crate) struct SimStore {
    volume: Arc<Volume>,
    incarnation: u64,
}

impl SimStore {
    /// For the node that is being started.
    pub(crate) fn new(volume: &Arc<Volume>) -> Self {
        Self { volume: Arc::clone(volume), incarnation: volume.incarnation() }
    }
}

struct Opened {
    dir: PathBuf,
    volume: Arc<Volume>,
    incarnation: u64,
}

struct Shared(Arc<Opened>);

struct Tree {
    name: String,
    store: Arc<Opened>,
}

impl Opened {
    fn state(&self) -> Result<MutexGuard<'_, State>, KvError> {
        let state = self.volume.living(self.incarnation);
        state.map_err(|source| KvError::Io { dir: self.dir.clone(), source })
    }
}

impl OpenStore for SimStore {
    fn open(&self, dir: &Path, _: &Storage) -> Result<Box<dyn Store>, KvError> {
        let dir = dir.to_owned();
        let (volume, incarnation) = (Arc::clone(&self.volume), self.incarnation);
        Ok(Box::new(Shared(Arc::new(Opened { dir, volume, incarnation }))))
    }
}

impl Store for Shared {
    fn tree(&self, name: &str) -> Result<Arc<dyn StoreTree>, KvError> {
        let mut state = self.0.state()?;
        if !state.kv.now.contains_key(name) {
            state.kv.step(Step::Make(name.to_owned()));
        }
        Ok(Arc::new(Tree { name: name.to_owned(), store: Arc::clone(&self.0) }))
    }

    fn has_tree(&self, name: &str) -> bool {
        self.0.state().is_ok_and(|state| state.kv.now.contains_key(name))
    }

    fn remove_tree(&self, name: &str) -> Result<(), KvError> {
        self.0.state()?.kv.step(Step::Remove(name.to_owned()));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.0.volume.living(self.0.incarnation)?.kv.flush();
        Ok(())
    }
}

impl StoreTree for Tree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let state = self.store.state()?;
        Ok(state.kv.now.get(&self.name).and_then(|tree| tree.get(key)).cloned())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), KvError> {
        self.store.state()?.kv.step(Step::Apply(self.name.clone(), changes));
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Pairs {
        let state = match self.store.state() {
            Ok(state) => state,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let tree = state.kv.now.get(&self.name);
        let found = tree.into_iter().flatten().filter(|(key, _)| key.starts_with(prefix));
        let found: Vec<_> = found.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        Box::new(found.into_iter())
    }

    fn clear(&self) -> Result<(), KvError> {
        self.store.state()?.kv.step(Step::Clear(self.name.clone()));
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let state = self.store.state();
        state.is_ok_and(|state| state.kv.now.get(&self.name).is_none_or(BTreeMap::is_empty))
    }
}
