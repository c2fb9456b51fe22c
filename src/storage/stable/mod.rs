//! A small durable map of what must never be forgotten: the votes of all groups.
//!
//! ```text
//! put ─► in memory ─► asked for, with what others ask for ─► written to two copies ─► both synced
//! ```
//! It is read as a whole when it is opened. There are **two copies**, so that what was confirmed is whole
//! in both, and a torn write (in one, or never confirmed) is told from damage: one flipped bit, a lost
//! sector or a deleted file is mended from the other copy. Each copy has two files, of which one is
//! written to while the other waits to take the state when the first is full. Their room is taken ahead,
//! so a full disk hardly ever matters, and nothing is renamed. Where it does, nothing is confirmed until there
//! is room.
//!
//! **Invariant:** when a [`Durable`] resolves, what was changed before it is on disk, in both copies.
//! **Invariant:** what was confirmed is found again, or [`Found::Lost`] is.
//! **Invariant:** after a stop that was not clean, everything is written again before it counts: what is
//! read may never have come to the disk.

mod error;
mod files;
mod record;
mod recovery;
mod second;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub use error::StableError;
pub use record::{StableKey, StableValue};
pub use recovery::Found;

use self::files::Files;
use self::recovery::State;
use self::writer::{Change, Writer};
use super::Storage;
use super::durable::Durable;
use super::locks::lock;
use super::syncer::{Ended, SyncTarget, SyncTicket};

/// What was found on the disk, before anything is changed.
pub struct Recovered {
    dir: PathBuf,
    state: State,
    is_changed: bool,
}

/// The open store. Clone shares it.
#[derive(Clone)]
pub struct StableStore {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    storage: Storage,
    ticket: SyncTicket,
    memory: Mutex<Memory>,
    writer: Mutex<Writer>,
    failed: AtomicBool,
}

#[derive(Default)]
struct Memory {
    values: HashMap<StableKey, StableValue>,
    /// Not written yet, in order.
    changes: Vec<Change>,
    /// The file lacks something that is in no change: the state has to be written anew.
    is_behind: bool,
}

impl Recovered {
    /// Reads what is in `dir`, which need not be there. Nothing is changed.
    ///
    /// # Errors
    /// Of the operating system. Damage is none: see [`Self::found`].
    pub fn read(dir: &Path) -> Result<Self, StableError> {
        let state = recovery::recover(&files::read(dir)?);
        Ok(Self { dir: dir.to_owned(), state, is_changed: false })
    }

    /// How it was found.
    #[must_use]
    pub fn found(&self) -> Found {
        self.state.found
    }

    /// What is remembered.
    #[must_use]
    pub fn values(&self) -> &HashMap<StableKey, StableValue> {
        &self.state.values
    }

    /// Changes what the store will begin with; on disk once it is open.
    pub fn put(&mut self, key: StableKey, value: StableValue) {
        self.is_changed = true;
        self.state.values.insert(key, value);
    }

    /// Forgets what is remembered under a key, as [`Self::put`].
    pub fn remove(&mut self, key: &StableKey) {
        self.is_changed |= self.state.values.remove(key).is_some();
    }

    /// Opens the store for writing. Until this returns, whoever reads again finds what this one found.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn open(mut self, storage: &Storage) -> Result<StableStore, StableError> {
        for (copy, records) in ["first", "second"].into_iter().zip(self.state.mended) {
            if records > 0 {
                tracing::warn!(
                    dir = %self.dir.display(), copy, records,
                    "records of one copy of the votes were damaged or missing, and are taken from the \
                     other copy: look at the disk"
                );
            }
        }
        let values = std::mem::take(&mut self.state.values);
        let files = Files::open(&self.dir, storage)?;
        let writer = match self.state.clean.filter(|_| !self.is_changed) {
            Some(at) => Writer::go_on(files, self.state.file, at),
            None => Writer::begin(files, &self.state, &values)?,
        };
        let memory = Memory { values, ..Memory::default() };
        let shared = Shared {
            dir: self.dir,
            storage: storage.clone(),
            ticket: SyncTicket::default(),
            memory: Mutex::new(memory),
            writer: Mutex::new(writer),
            failed: AtomicBool::new(false),
        };
        Ok(StableStore { shared: Arc::new(shared) })
    }
}

impl StableStore {
    /// What is remembered under `key`, on disk or not yet.
    #[must_use]
    pub fn get(&self, key: &StableKey) -> Option<StableValue> {
        lock(&self.shared.memory).values.get(key).copied()
    }

    /// Makes changes, in this order. They are readable when this returns, and on disk when a
    /// [`Self::durable`] that was asked for later resolves.
    pub fn apply(&self, changes: impl IntoIterator<Item = (StableKey, Option<StableValue>)>) {
        let mut memory = lock(&self.shared.memory);
        for (key, value) in changes {
            match value {
                Some(value) => drop(memory.values.insert(key, value)),
                None => drop(memory.values.remove(&key)),
            }
            memory.changes.push((key, value));
        }
    }

    /// Resolves when all that was changed before is on disk. Callers share writes and syncs.
    pub fn durable(&self) -> Durable {
        let (durable, done) = Durable::new();
        let target: Arc<Shared> = Arc::clone(&self.shared);
        self.shared.storage.syncer.ask(target, done);
        durable
    }

    /// Writes what was changed, so that the end of the process does not lose it; without a sync.
    ///
    /// # Errors
    /// Of the operating system (a failed write ends the process before, unless a test's hook returns).
    pub fn write_behind(&self) -> Result<(), StableError> {
        self.shared.write(&mut lock(&self.shared.writer))
    }

    /// As [`Self::durable`], in this thread.
    ///
    /// # Errors
    /// As [`Self::write_behind`].
    pub fn sync_blocking(&self) -> Result<(), StableError> {
        self.shared.sync()
    }

    /// Puts everything on disk, with the mark of a clean stop.
    ///
    /// # Errors
    /// As [`Self::write_behind`].
    pub fn close(&self) -> Result<(), StableError> {
        let mut writer = lock(&self.shared.writer);
        self.shared.write(&mut writer)?;
        self.shared.attempt(|| writer.close())
    }
}

impl Shared {
    /// Writes the changes that wait.
    fn write(&self, writer: &mut Writer) -> Result<(), StableError> {
        self.attempt(|| writer.finish())?;
        let (changes, anew) = {
            let mut memory = lock(&self.memory);
            let changes = std::mem::take(&mut memory.changes);
            let anew = memory.is_behind || !writer.has_room(changes.len());
            (changes, anew.then(|| memory.values.clone()))
        };
        let written = self.attempt(|| match &anew {
            Some(values) => writer.write_anew(values),
            None if changes.is_empty() => Ok(()),
            None => writer.append(&changes),
        });
        // Without room the next one tries again, with all there is by then.
        lock(&self.memory).is_behind = written.is_err();
        written
    }

    fn sync(&self) -> Result<(), StableError> {
        let mut writer = lock(&self.writer);
        self.write(&mut writer)?;
        self.attempt(|| writer.sync())
    }

    /// A write or a sync that failed is the last one; a write that found no room was none, and is finished
    /// before anything is confirmed.
    fn attempt(&self, write: impl FnOnce() -> Result<(), StableError>) -> Result<(), StableError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StableError::Failed { path: self.dir.clone() });
        }
        write().inspect_err(|error| {
            if let StableError::Io { doing, path, source } = error
                && !(error.is_full() && *doing != files::SYNC)
            {
                self.failed.store(true, Ordering::Release);
                (self.storage.fatal)(&format!("{doing} {}", path.display()), source);
            }
        })
    }
}

impl SyncTarget for Shared {
    fn ticket(&self) -> &SyncTicket {
        &self.ticket
    }

    fn sync_now(&self) -> Ended {
        Some(self.sync().map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests;
