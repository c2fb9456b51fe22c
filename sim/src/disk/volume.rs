//! What of a node's disk outlives the node's process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::kv::KvState;

/// What a crash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The process ends; what it wrote is still written.
    Process,
    /// The power fails: nothing that was not synced is left.
    AllUnsynced,
    /// The power fails: of what was not synced some is left, in any combination.
    SomeUnsynced,
}

/// A change of a file that no sync has confirmed.
pub(super) enum Change {
    Write { position: u64, old: Vec<u8>, new: Vec<u8>, old_len: u64 },
    SetLen { old_len: u64, new_len: u64, old_tail: Vec<u8> },
}

/// A change of names that no sync of their folder has confirmed.
pub(super) enum NameChange {
    Create(PathBuf),
    CreateDir(PathBuf),
    /// From, to, and where that is which was there before.
    Rename(PathBuf, PathBuf, Option<PathBuf>),
    /// What, and where it is kept.
    Remove(PathBuf, PathBuf),
}

/// A file with changes that no sync has confirmed.
pub(super) struct Dirty {
    pub(super) file: File,
    pub(super) changes: Vec<Change>,
}

/// Device and number of a file.
pub(super) type FileId = (u64, u64);

pub(super) struct State {
    /// Which start of the node may use the disk.
    pub(super) incarnation: u64,
    pub(super) random: SmallRng,
    /// By the order in which they became dirty.
    pub(super) dirty: BTreeMap<u64, Dirty>,
    pub(super) numbers: BTreeMap<FileId, u64>,
    next_number: u64,
    pub(super) names: Vec<NameChange>,
    /// Indexes that were synced whole, and are not changed any more.
    pub(super) whole_indexes: BTreeSet<FileId>,
    next_stashed: u64,
    pub(super) kv: KvState,
    /// Everything waits for the disk until then, µs of the simulation.
    pub(super) stalled_until_us: u64,
    /// Longest time that a sync takes as a rule, ms.
    sync_ms_max: u64,
    /// The next sync fails.
    pub(super) fails_next: bool,
    /// One has failed since the node was started.
    pub(super) is_struck: bool,
    /// Which has ended the node's process.
    has_failed: bool,
}

/// See the file's head.
pub(crate) struct Volume {
    root: PathBuf,
    stash: PathBuf,
    /// How far the machine's wall clock is off.
    clock_offset_ms: AtomicI64,
    state: Mutex<State>,
}

impl Volume {
    /// A volume in `folder`, which is there and empty.
    pub(crate) fn new(folder: &Path, seed: u64, sync_ms_max: u64) -> io::Result<Self> {
        let (root, stash) = (folder.join("data"), folder.join("stash"));
        fs::create_dir(&root)?;
        fs::create_dir(&stash)?;
        let state = State {
            incarnation: 0,
            random: SmallRng::seed_from_u64(seed),
            dirty: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            names: Vec::new(),
            whole_indexes: BTreeSet::new(),
            next_stashed: 0,
            kv: KvState::default(),
            stalled_until_us: 0,
            sync_ms_max,
            fails_next: false,
            is_struck: false,
            has_failed: false,
        };
        let clock_offset_ms = AtomicI64::new(0);
        Ok(Self { root, stash, clock_offset_ms, state: Mutex::new(state) })
    }

    /// Where the node's data is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The start of the node that may use the disk.
    pub(crate) fn incarnation(&self) -> u64 {
        self.state().incarnation
    }

    /// How far the machine's wall clock is off, ms.
    pub(crate) fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms.load(Ordering::Relaxed)
    }

    /// Sets the machine's wall clock.
    pub(crate) fn set_clock_offset_ms(&self, ms: i64) {
        self.clock_offset_ms.store(ms, Ordering::Relaxed);
    }

    /// Syncs take until `until_us`.
    pub(crate) fn stall(&self, until_us: u64) {
        self.state().stalled_until_us = until_us;
    }

    /// Lets the next sync fail, or no more.
    pub(crate) fn fail_next_sync(&self, fails: bool) {
        self.state().fails_next = fails;
    }

    /// Notes that a sync has failed: the node of `incarnation` ends its process.
    pub(crate) fn end_process(&self, incarnation: u64) {
        let mut state = self.state();
        state.has_failed |= state.incarnation == incarnation;
    }

    /// Whether a sync has failed since the node was started.
    pub(crate) fn is_struck(&self) -> bool {
        self.state().is_struck
    }

    /// Whether the node has ended its process since this was asked last.
    pub(crate) fn take_failed(&self) -> bool {
        std::mem::take(&mut self.state().has_failed)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for who is still running.
    ///
    /// # Errors
    /// The process of `incarnation` has ended.
    pub(super) fn living(&self, incarnation: u64) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.incarnation == incarnation {
            Ok(state)
        } else {
            Err(io::Error::other("the process has ended"))
        }
    }

    /// A place outside the node's sight.
    pub(super) fn stash(&self, state: &mut State) -> PathBuf {
        state.next_stashed += 1;
        self.stash.join(state.next_stashed.to_string())
    }

    /// Empties that place, where `kept` says nothing of it.
    pub(super) fn unstash(&self, state: &State) -> io::Result<()> {
        let kept: BTreeSet<&Path> = state.names.iter().filter_map(NameChange::stashed).collect();
        for entry in fs::read_dir(&self.stash)? {
            let path = entry?.path();
            if !kept.contains(&*path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl NameChange {
    pub(super) fn stashed(&self) -> Option<&Path> {
        match self {
            Self::Rename(_, _, stashed) => stashed.as_deref(),
            Self::Remove(_, stashed) => Some(stashed),
            Self::Create(_) | Self::CreateDir(_) => None,
        }
    }

    /// Whether a sync of `dir` confirms it.
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let (Self::Create(path)
        | Self::CreateDir(path)
        | Self::Rename(_, path, _)
        | Self::Remove(path, _)) = self;
        path.parent() == Some(dir)
    }
}

impl State {
    /// Notes a change of `file`.
    pub(super) fn note(&mut self, file: &File, change: Change) -> io::Result<()> {
        let id = id_of(file)?;
        let number = *self.numbers.entry(id).or_insert_with(|| {
            self.next_number += 1;
            self.next_number
        });
        match self.dirty.entry(number) {
            std::collections::btree_map::Entry::Occupied(dirty) => {
                dirty.into_mut().changes.push(change);
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Dirty { file: file.try_clone()?, changes: vec![change] });
            }
        }
        Ok(())
    }

    /// A sync of `file` ended well.
    pub(super) fn confirm(&mut self, file: &File) -> io::Result<()> {
        let id = id_of(file)?;
        if let Some(number) = self.numbers.remove(&id) {
            self.dirty.remove(&number);
        }
        Ok(())
    }

    /// How long a sync that begins now takes.
    pub(super) fn sync_time(&mut self, now_us: u64) -> Duration {
        let stalled = Duration::from_micros(self.stalled_until_us.saturating_sub(now_us));
        let max = self.sync_ms_max;
        stalled + Duration::from_millis(self.random.random_range(0..=max))
    }
}

pub(super) fn id_of(file: &File) -> io::Result<FileId> {
    let found = file.metadata()?;
    Ok((found.dev(), found.ino()))
}
