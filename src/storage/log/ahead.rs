//! Makes the next segment's file while the active one fills, so that a roll only writes a head and
//! gives it its name.
//!
//! ```text
//! active segment half full ─► asked for, once ─► made, room taken, synced ─► ready ─► a roll takes it
//! ```
//! It is called `next.tmp`: opening the log removes what a crash leaves of it. While it waits it is not
//! open: every log may have one.
//!
//! **Invariant:** it holds zeros only: whatever was in its blocks before cannot be taken for entries.
//! **Invariant:** a roll never waits for it.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::storage::Disk;
use crate::storage::durable_file::TEMPORARY;
use crate::storage::locks::{lock, read};
use crate::storage::segment::Prepared;

use super::{Inner, Watched};

/// The file and what is known about it.
#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    /// Held while the file is made or removed, by whoever does it.
    making: Mutex<()>,
}

#[derive(Default)]
struct State {
    ready: bool,
    /// First index of the segment during which it was asked for last.
    asked_in: Option<u64>,
    /// It is being made.
    busy: bool,
    /// None is wanted any more.
    closed: bool,
}

impl Ahead {
    fn take(&self) -> bool {
        std::mem::take(&mut lock(&self.state).ready)
    }

    /// The log is closed, or about to be.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

impl Inner {
    /// The next segment's file, if it is there.
    pub(super) fn take_next(&self) -> Option<Prepared> {
        if !self.ahead.take() {
            return None;
        }
        let path = self.next_path();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let opened = self.storage.open_files.open(|| {
            let file = options.open(&path)?;
            Ok((file.metadata()?.len(), file))
        });
        match opened {
            Ok((allocated, file)) => Some(Prepared { path, file, allocated }),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a segment made ahead is not used");
                self.remove_next();
                None
            }
        }
    }

    fn next_path(&self) -> PathBuf {
        self.dir.join("next").with_extension(TEMPORARY)
    }

    /// Asks for the next segment's file if the active one, from `first_index` on, is half full. Not tried
    /// again before the next roll: a disk that refused it has other worries.
    pub(super) fn prepare_next(self: &Arc<Self>, position: u64, first_index: u64) {
        if position < read(&self.roll).bytes / 2 || !self.storage.space.has_room() {
            return;
        }
        {
            let mut state = lock(&self.ahead.state);
            let is_there = state.busy || state.ready || state.closed;
            if is_there || state.asked_in == Some(first_index) {
                return;
            }
            (state.asked_in, state.busy) = (Some(first_index), true);
        }
        let log = Arc::downgrade(self);
        let asked = self.storage.background.run(move || {
            if let Some(log) = log.upgrade() {
                log.make_next();
            }
        });
        if let Err(error) = asked {
            tracing::warn!(%error, "no segment is made ahead");
            lock(&self.ahead.state).busy = false;
        }
    }

    fn make_next(&self) {
        let _making = lock(&self.ahead.making);
        if lock(&self.ahead.state).closed {
            return;
        }
        let made = self.make_file();
        let unused = {
            let mut state = lock(&self.ahead.state);
            state.busy = false;
            match made {
                Ok(()) => {
                    state.ready = !state.closed;
                    state.closed
                }
                Err(error) => {
                    let dir = self.dir.display();
                    tracing::debug!(%error, %dir, "the next segment is not made ahead");
                    true
                }
            }
        };
        if unused {
            self.remove_next();
        }
    }

    fn make_file(&self) -> io::Result<()> {
        self.check_usable()?;
        let disk = &Watched(self);
        let file = disk.create(&self.next_path())?;
        let allocated = self.options.preallocate_max_bytes.min(read(&self.roll).bytes);
        disk.allocate(&file, 0, allocated)?;
        self.storage.space.look();
        disk.sync_data(&file)
    }

    /// The log is about to be closed: gives the room back. Nothing is made or made longer when this
    /// returns, nor later.
    pub(super) fn stop_preparing(&self) {
        lock(&self.ahead.state).closed = true;
        self.stop_cutting();
        let _making = lock(&self.ahead.making);
        if self.ahead.take() {
            self.remove_next();
        }
    }

    fn remove_next(&self) {
        let path = self.next_path();
        if let Err(error) = self.storage.disk.remove(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // The next opening removes it.
            tracing::debug!(%error, path = %path.display(), "cannot be removed now");
        }
    }
}
