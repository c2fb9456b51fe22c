//! What a crash leaves of a disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::SmallRng;

use super::volume::{Change, Dirty, Loss, NameChange, State, Volume};

/// Within a sector a write is done or not.
const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

impl Volume {
    /// Ends the node's process, whose disk calls fail from here on, and takes what `loss` says.
    ///
    /// # Errors
    /// Of the machine's own disk.
    pub(crate) fn crash(&self, loss: Loss) -> io::Result<()> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.incarnation += 1;
        state.is_struck = false;
        state.kv.crash(&mut state.random);
        if loss == Loss::Process {
            return Ok(());
        }
        let keeps_some = loss == Loss::SomeUnsynced;
        for dirty in std::mem::take(&mut state.dirty).into_values() {
            lose(&dirty, keeps_some, &mut state.random)?;
        }
        state.numbers.clear();
        let names = std::mem::take(&mut state.names);
        let kept = if keeps_some { state.random.random_range(0..=names.len()) } else { 0 };
        for change in names[kept..].iter().rev() {
            undo(change)?;
        }
        damage_indexes(self.root(), state)?;
        self.unstash(state)
    }
}

/// Takes a file back to what was synced, and does some of the rest again.
fn lose(dirty: &Dirty, keeps_some: bool, random: &mut SmallRng) -> io::Result<()> {
    let file = &dirty.file;
    for change in dirty.changes.iter().rev() {
        match change {
            Change::Write { position, old, new, old_len } => {
                if position + new.len() as u64 > *old_len {
                    file.set_len(*old_len)?;
                }
                file.write_all_at(old, *position)?;
            }
            Change::SetLen { old_len, new_len, old_tail } => {
                file.set_len(*old_len)?;
                file.write_all_at(old_tail, *new_len)?;
            }
        }
    }
    if !keeps_some {
        return Ok(());
    }
    // A sector goes to the disk as memory has it, earlier writes included: it holds what was written up to some
    // moment, and nothing of what came after.
    let mut left_behind = BTreeSet::new();
    for change in &dirty.changes {
        match change {
            Change::Write { position, new, .. } => {
                // It reached the disk: not at all, wholly, or in some of its sectors.
                let fate = random.random_range(0..4);
                for part in sectors(*position, new.len()) {
                    let at = position + part.start as u64;
                    let is_kept = match fate {
                        0 => false,
                        1 | 2 => true,
                        _ => random.random_bool(0.5),
                    };
                    if !is_kept {
                        left_behind.insert(at / SECTOR);
                    } else if !left_behind.contains(&(at / SECTOR)) {
                        file.write_all_at(&new[part], at)?;
                    }
                }
            }
            Change::SetLen { new_len, .. } => {
                if random.random_bool(0.5) {
                    file.set_len(*new_len)?;
                }
            }
        }
    }
    Ok(())
}

/// The parts of a write by sectors.
fn sectors(position: u64, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = position + len as u64;
    let begins = std::iter::successors(Some(position), |at| Some((at / SECTOR + 1) * SECTOR));
    begins.take_while(move |at| *at < end).map(move |at| {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        (at - position) as usize..(next - position) as usize
    })
}

fn undo(change: &NameChange) -> io::Result<()> {
    let undone = match change {
        NameChange::Create(path) => fs::remove_file(path),
        NameChange::CreateDir(path) => fs::remove_dir_all(path),
        NameChange::Rename(from, to, stashed) => {
            fs::rename(to, from).and_then(|()| match stashed {
                Some(stashed) => fs::rename(stashed, to),
                None => Ok(()),
            })
        }
        NameChange::Remove(path, stashed) => fs::rename(stashed, path),
    };
    match undone {
        // Moved with its folder since, past this disk.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Indexes are written through maps that nobody sees: of those that were never synced, pages at the end may
/// not have been written.
fn damage_indexes(dir: &Path, state: &mut State) -> io::Result<()> {
    let mut paths = Vec::new();
    find_indexes(dir, &mut paths)?;
    paths.sort();
    for path in paths {
        let file = File::options().write(true).open(&path)?;
        let found = file.metadata()?;
        if state.whole_indexes.contains(&(found.dev(), found.ino())) {
            continue;
        }
        let pages = found.len() / PAGE;
        if pages > 0 && state.random.random_bool(0.5) {
            let from = state.random.random_range(0..pages) * PAGE;
            file.set_len(from)?;
            file.set_len(found.len())?;
        }
    }
    Ok(())
}

fn find_indexes(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find_indexes(&path, found)?;
        } else if path.extension().is_some_and(|end| end.to_string_lossy().ends_with("index")) {
            found.push(path);
        }
    }
    Ok(())
}
