//! The disk as a running node sees it.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use jackdaw::storage::{Disk, FileMap, SystemDisk};

use super::volume::{Change, NameChange, State, Volume, id_of};

/// `EIO`.
const INPUT_OUTPUT: i32 = 5;

/// A [`Volume`] for one start of a node.
#[derive(Clone)]
pub(crate) struct SimDisk {
    volume: Arc<Volume>,
    incarnation: u64,
}

impl SimDisk {
    /// For the node that is being started.
    pub(crate) fn new(volume: &Arc<Volume>) -> Self {
        Self { volume: Arc::clone(volume), incarnation: volume.incarnation() }
    }

    /// A write or sync has failed: the node ends its process.
    pub(crate) fn end_process(&self) {
        self.volume.end_process(self.incarnation);
    }

    fn living(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        self.volume.living(self.incarnation)
    }

    fn open(&self, path: &Path, empty: bool) -> io::Result<File> {
        let mut state = self.living()?;
        let is_new = !path.exists();
        let file = SystemDisk.open_or_create(path)?;
        if is_new {
            state.names.push(NameChange::Create(path.to_owned()));
        } else if empty {
            set_len(&mut state, &file, 0)?;
        }
        Ok(file)
    }
}

/// What is in `file` from `position` on, up to `len` bytes.
fn read(file: &File, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut got = 0;
    while got < len {
        match file.read_at(&mut bytes[got..], position + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

fn set_len(state: &mut State, file: &File, len: u64) -> io::Result<()> {
    let old_len = file.metadata()?.len();
    if old_len == len {
        return Ok(());
    }
    let cut = usize::try_from(old_len.saturating_sub(len)).unwrap_or(usize::MAX);
    let old_tail = read(file, len, cut)?;
    SystemDisk.set_len(file, len)?;
    state.note(file, Change::SetLen { old_len, new_len: len, old_tail })
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
    bytes
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.open(path, true)
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.open(path, false)
    }

    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = self.living()?;
        let new = joined(slices);
        let old_len = file.metadata()?.len();
        let old = read(file, position, new.len())?;
        file.write_all_at(&new, position)?;
        let written = new.len();
        state.note(file, Change::Write { position, old, new, old_len })?;
        Ok(written)
    }

    fn store(
        &self,
        file: &File,
        map: &mut FileMap,
        slices: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<()> {
        let mut state = self.living()?;
        let new = joined(slices);
        let (old, old_len) = (read(file, position, new.len())?, file.metadata()?.len());
        map.put(slices, position);
        state.note(file, Change::Write { position, old, new, old_len })
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        let mut state = self.living()?;
        let (old_len, new_len) = (file.metadata()?.len(), position + len);
        SystemDisk.allocate(file, position, len)?;
        if new_len > old_len {
            state.note(file, Change::SetLen { old_len, new_len, old_tail: Vec::new() })?;
        }
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        set_len(&mut *self.living()?, file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.living()?;
        let stashed = if to.is_file() {
            let stashed = self.volume.stash(&mut state);
            fs::hard_link(to, &stashed)?;
            Some(stashed)
        } else {
            None
        };
        SystemDisk.rename(from, to)?;
        state.names.push(NameChange::Rename(from.to_owned(), to.to_owned(), stashed));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.living()?;
        let stashed = self.volume.stash(&mut state);
        fs::rename(path, &stashed)?;
        state.names.push(NameChange::Remove(path.to_owned(), stashed));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.living()?;
        let missing: Vec<_> = path.ancestors().take_while(|dir| !dir.exists()).collect();
        SystemDisk.create_dir(path)?;
        let made = missing.iter().rev().map(|dir| NameChange::CreateDir(dir.to_path_buf()));
        state.names.extend(made);
        Ok(())
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut state = self.living()?;
        if std::mem::take(&mut state.fails_next) {
            state.is_struck = true;
            return Err(io::Error::from_raw_os_error(INPUT_OUTPUT));
        }
        // Of an index whatever is in it now; it changes no more once its segment is sealed.
        let id = id_of(file)?;
        state.whole_indexes.insert(id);
        state.confirm(file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.living()?;
        state.names.retain(|change| !change.is_in(dir));
        self.volume.unstash(&state)
    }

    fn sync_volume(&self, _: &File) -> io::Result<()> {
        let mut state = self.living()?;
        state.dirty.clear();
        state.numbers.clear();
        state.names.clear();
        self.volume.unstash(&state)
    }
}
