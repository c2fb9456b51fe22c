//! A disk that does what it is told to real files, writes down every change in order, and fails at a
//! chosen one.
//!
//! What a power cut would leave behind follows from the list alone: see [`Image`]. The maps of index
//! files change without its knowing; their contents are noted when asked to.
//!
//! **Invariant:** the same calls make the same list, whatever the machine does meanwhile.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::power_cut::{Image, Keep};
use super::random::Random;
use crate::storage::file_map::STORED_LAST;
use crate::storage::locks::lock;
use crate::storage::{Disk, FileMap, SystemDisk};

/// What goes wrong at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Fault {
    /// The process ends: a write is done by half, nothing else is done from there on.
    Kill,
    /// One operation fails with an I/O error; a write may be done by half, a sync loses pages.
    InputOutput,
    /// From here on nothing can grow until [`FaultDisk::heal`].
    NoSpace,
}

/// A change of the log's folder. Files have numbers, so that they keep them through renames.
#[derive(Clone, Debug)]
pub(in crate::storage) enum Op {
    MakeDir,
    Link(String, usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Grow(usize, u64),
    Rename(String, String),
    Remove(String),
    SyncFile(usize),
    /// What was not on the disk yet may be lost, and is taken for written by later syncs.
    FailedSync(usize),
    SyncDir,
    SyncParent,
    SyncVolume,
    /// An index file as it is now (`None`: gone), and whether it was synced so.
    Index(String, Vec<u8>, bool),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    NeedsSpace,
    NeedsNone,
    Sync,
}

pub(in crate::storage) struct FaultDisk {
    dir: PathBuf,
    base: Image,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    journal: Vec<Op>,
    numbers: HashMap<(u64, u64), usize>,
    /// Keeps inode numbers from being used again.
    held: Vec<File>,
    steps: usize,
    fault: Option<(usize, Fault)>,
    struck: bool,
    full: bool,
    dead: bool,
}

impl FaultDisk {
    /// For the log in `dir`, all of which is on the disk.
    pub(in crate::storage) fn new(dir: &Path) -> Self {
        let (mut base, mut state) = (Image::default(), State::default());
        if let Ok(entries) = fs::read_dir(dir) {
            base.set_dir();
            for path in entries.map(|entry| entry.unwrap().path()) {
                let contents = fs::read(&path).unwrap();
                let name = name_of(&path);
                if is_index(&name) {
                    base.apply(&Op::Index(name, contents, true), &mut Random(0));
                } else {
                    let number = state.number_new(File::open(&path).unwrap());
                    base.add(name, number, contents);
                }
            }
        }
        Self { dir: dir.to_owned(), base, state: Mutex::new(state) }
    }

    /// Lets `fault` happen at the `at`-th operation, from 1.
    pub(in crate::storage) fn arm(&self, at: usize, fault: Fault) {
        lock(&self.state).fault = Some((at, fault));
    }

    /// The process is started again, or somebody has made room.
    pub(in crate::storage) fn heal(&self) {
        let mut state = lock(&self.state);
        (state.dead, state.full, state.fault) = (false, false, None);
    }

    /// Whether the fault has happened.
    pub(in crate::storage) fn struck(&self) -> bool {
        lock(&self.state).struck
    }

    pub(in crate::storage) fn is_dead(&self) -> bool {
        lock(&self.state).dead
    }

    /// How many entries the list has; index files as they are now are among them.
    pub(in crate::storage) fn mark(&self) -> usize {
        let mut state = lock(&self.state);
        for path in fs::read_dir(&self.dir).into_iter().flatten().map(|e| e.unwrap().path()) {
            let name = name_of(&path);
            if is_index(&name) {
                state.journal.push(Op::Index(name, fs::read(&path).unwrap(), false));
            }
        }
        state.journal.len()
    }

    /// What was on the disk at the beginning, and what was done since.
    pub(in crate::storage) fn history(&self) -> (Image, Vec<Op>) {
        (self.base.clone(), lock(&self.state).journal.clone())
    }

    /// Puts into `to` what a power cut now might leave of the folder.
    pub(in crate::storage) fn power_cut(&self, keep: Keep, random: &mut Random, to: &Path) {
        let now = self.mark();
        self.power_cut_at(now, keep, random, to);
    }

    /// The same for one after the list's first `count` entries.
    pub(in crate::storage) fn power_cut_at(
        &self,
        count: usize,
        keep: Keep,
        random: &mut Random,
        to: &Path,
    ) {
        let (mut image, journal) = self.history();
        for op in &journal[..count] {
            image.apply(op, random);
        }
        image.leave(keep, random, to);
    }

    fn index_of(&self, file: &File) -> Option<(String, Vec<u8>)> {
        let inode = file.metadata().ok()?.ino();
        let mut paths = fs::read_dir(&self.dir).ok()?.map(|entry| entry.unwrap().path());
        let path = paths.find(|path| fs::metadata(path).is_ok_and(|meta| meta.ino() == inode))?;
        Some((name_of(&path), fs::read(&path).ok()?))
    }
}

impl State {
    /// Counts an operation; what is to become of it.
    fn strike(&mut self, kind: Kind) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the process has ended"));
        }
        self.steps += 1;
        if let Some((at, fault)) = self.fault
            && at == self.steps
        {
            self.struck = true;
            match fault {
                Fault::Kill => {
                    self.dead = true;
                    return Err(io::Error::other("the process ends"));
                }
                Fault::InputOutput => return Err(io::Error::from_raw_os_error(5)),
                Fault::NoSpace => self.full = true,
            }
            if kind == Kind::Sync {
                return Err(io::Error::from_raw_os_error(28));
            }
        }
        if self.full && kind == Kind::NeedsSpace {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    }

    fn number(&self, file: &File) -> Option<usize> {
        let meta = file.metadata().unwrap();
        self.numbers.get(&(meta.dev(), meta.ino())).copied()
    }

    fn number_new(&mut self, file: File) -> usize {
        let meta = file.metadata().unwrap();
        let number = self.held.len();
        self.numbers.insert((meta.dev(), meta.ino()), number);
        self.held.push(file);
        number
    }

    fn note(&mut self, file: &File, op: impl FnOnce(usize) -> Op) {
        if let Some(number) = self.number(file) {
            self.journal.push(op(number));
        }
    }

    fn open(&mut self, path: &Path, empty: bool) -> io::Result<File> {
        let is_new = !path.exists();
        self.strike(if is_new { Kind::NeedsSpace } else { Kind::NeedsNone })?;
        let file = if empty { SystemDisk.create(path) } else { SystemDisk.open_or_create(path) }?;
        if is_new {
            let number = self.number_new(file.try_clone()?);
            self.journal.push(Op::Link(name_of(path), number));
        } else if empty {
            self.note(&file, |number| Op::SetLen(number, 0));
        }
        Ok(file)
    }
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        lock(&self.state).open(path, true)
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        lock(&self.state).open(path, false)
    }

    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let mut bytes = slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<u8>>();
        let grows = position + bytes.len() as u64 > file.metadata()?.len();
        let was_full = state.full;
        let was_dead = state.dead;
        let struck = state.strike(if grows { Kind::NeedsSpace } else { Kind::NeedsNone });
        if struck.is_err() {
            if was_dead || was_full || state.steps.is_multiple_of(2) {
                return struck.map(|()| 0);
            }
            // Within a sector a write is done or not.
            let upto = (position as usize + bytes.len() / 2) / 512 * 512;
            bytes.truncate(upto.saturating_sub(position as usize));
            if bytes.is_empty() {
                return struck.map(|()| 0);
            }
        }
        let written = SystemDisk.write_at(file, &[IoSlice::new(&bytes)], position)?;
        state.note(file, |number| Op::Write(number, position, bytes));
        // A full disk takes what still fits and says so by the count.
        if struck.is_ok() || state.full { Ok(written) } else { struck.map(|()| 0) }
    }

    fn store(
        &self,
        file: &File,
        map: &mut FileMap,
        slices: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<()> {
        let mut state = lock(&self.state);
        let mut bytes = slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<u8>>();
        let was_dead = state.dead;
        // What fails is the process: it ends between two stores, of which the first are those of the end.
        let struck = state.strike(Kind::NeedsNone);
        if struck.is_err() {
            let half = if was_dead { bytes.len() } else { bytes.len() / 2 };
            bytes[..half.max(STORED_LAST.end)].fill(0);
        }
        map.put(&[IoSlice::new(&bytes)], position);
        state.note(file, |number| Op::Write(number, position, bytes));
        struck
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.strike(Kind::NeedsSpace)?;
        SystemDisk.allocate(file, position, len)?;
        state.note(file, |number| Op::Grow(number, position + len));
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.strike(Kind::NeedsNone)?;
        SystemDisk.set_len(file, len)?;
        state.note(file, |number| Op::SetLen(number, len));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.strike(Kind::NeedsNone)?;
        SystemDisk.rename(from, to)?;
        state.journal.push(Op::Rename(name_of(from), name_of(to)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        if path.extension().is_some_and(|extension| extension == "gone") {
            // Another thread does it at a time of its own: not a step, and maybe not done in time.
            return SystemDisk.remove(path);
        }
        state.strike(Kind::NeedsNone)?;
        SystemDisk.remove(path)?;
        state.journal.push(Op::Remove(name_of(path)));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        let is_new = !path.exists();
        state.strike(if is_new { Kind::NeedsSpace } else { Kind::NeedsNone })?;
        SystemDisk.create_dir(path)?;
        if is_new {
            state.journal.push(Op::MakeDir);
        }
        Ok(())
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut state = lock(&self.state);
        let result = state.strike(Kind::Sync);
        match (&result, state.number(file)) {
            (Ok(()), Some(number)) => state.journal.push(Op::SyncFile(number)),
            (Err(_), Some(number)) if !state.dead => state.journal.push(Op::FailedSync(number)),
            (Ok(()), None) => {
                if let Some((name, contents)) = self.index_of(file) {
                    state.journal.push(Op::Index(name, contents, true));
                }
            }
            _ => {}
        }
        result
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.strike(Kind::Sync)?;
        state.journal.push(if dir == self.dir { Op::SyncDir } else { Op::SyncParent });
        Ok(())
    }

    fn sync_volume(&self, _: &File) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.strike(Kind::Sync)?;
        state.journal.push(Op::SyncVolume);
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Whether it is an index, or is to become one.
pub(in crate::storage) fn is_index(name: &str) -> bool {
    name.ends_with(".index") || name.ends_with(".index.tmp")
}
