//! What of a log's folder is on the disk, and what a power cut may leave of the rest.
//!
//! As on ext4: a synced file has its bytes, a synced folder its names. Of what was not synced, any
//! 512-byte sector may be there or not; a file's lengths come in order, its sectors do not; of the
//! names that were made, moved and removed, any may be done and any not. Index files hold anything that they
//! have held since their last sync, or nothing, or garbage.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::fault_disk::{Op, is_index};
use super::random::Random;

const SECTOR: usize = 512;

/// Which part of the unsynced changes is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Keep {
    None,
    All,
    /// A part drawn at random.
    Some,
}

/// The folder.
#[derive(Clone, Default)]
pub(in crate::storage) struct Image {
    dir_made: bool,
    dir_durable: bool,
    files: BTreeMap<usize, Contents>,
    /// Names on the disk, and as the system sees them.
    durable: BTreeMap<String, usize>,
    current: BTreeMap<String, usize>,
    renames: Vec<NameChange>,
    /// What each index file has held since it was last synced; `None`: it was not there.
    indexes: BTreeMap<String, Vec<Option<Vec<u8>>>>,
}

#[derive(Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
    Grow(usize),
}

#[derive(Clone)]
enum NameChange {
    Link(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

impl Image {
    pub(in crate::storage) fn set_dir(&mut self) {
        (self.dir_made, self.dir_durable) = (true, true);
    }

    /// A file that is on the disk from the beginning.
    pub(in crate::storage) fn add(&mut self, name: String, number: usize, durable: Vec<u8>) {
        self.files.insert(number, Contents { durable, pending: Vec::new() });
        self.durable.insert(name.clone(), number);
        self.current.insert(name, number);
    }

    pub(in crate::storage) fn apply(&mut self, op: &Op, random: &mut Random) {
        match op {
            Op::MakeDir => self.dir_made = true,
            Op::Link(name, number) => self.rename(NameChange::Link(name.clone(), *number)),
            Op::Write(file, at, bytes) => {
                self.change(*file, Change::Write(*at as usize, bytes.clone()));
            }
            Op::SetLen(file, len) => self.change(*file, Change::SetLen(*len as usize)),
            Op::Grow(file, len) => self.change(*file, Change::Grow(*len as usize)),
            Op::Remove(name) if is_index(name) => self.index(name, None),
            Op::Rename(from, to) if is_index(from) => self.rename_index(from, to),
            Op::Rename(from, to) => {
                let number = self.current[from];
                self.rename(NameChange::Rename(from.clone(), to.clone(), number));
            }
            Op::Remove(name) => self.rename(NameChange::Remove(name.clone())),
            Op::SyncFile(file) => self.sync_file(*file, random),
            Op::FailedSync(file) => self.files.entry(*file).or_default().lose(random),
            Op::SyncDir => self.sync_names(),
            Op::SyncParent => self.dir_durable = self.dir_made,
            Op::SyncVolume => {
                self.dir_durable = self.dir_made;
                self.sync_names();
                for file in self.files.keys().copied().collect::<Vec<_>>() {
                    self.sync_file(file, random);
                }
            }
            Op::Index(name, contents, synced) => {
                if *synced {
                    self.indexes.remove(name);
                }
                self.index(name, Some(contents.clone()));
            }
        }
    }

    fn change(&mut self, file: usize, change: Change) {
        self.files.entry(file).or_default().pending.push(change);
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        if let NameChange::Link(_, number) = &change {
            self.files.entry(*number).or_default();
        }
        self.renames.push(change);
    }

    fn index(&mut self, name: &str, contents: Option<Vec<u8>>) {
        let versions = self.indexes.entry(name.to_owned()).or_insert_with(|| vec![None]);
        if versions.last() != Some(&contents) {
            versions.push(contents);
        }
    }

    /// Whatever the file may hold is then under the other name, or under both.
    fn rename_index(&mut self, from: &str, to: &str) {
        if is_index(to) {
            for contents in self.indexes.get(from).cloned().into_iter().flatten().flatten() {
                self.index(to, Some(contents));
            }
        }
        self.index(from, None);
    }

    fn sync_file(&mut self, file: usize, random: &mut Random) {
        let contents = self.files.entry(file).or_default();
        contents.durable = contents.left(Keep::All, random);
        contents.pending.clear();
    }

    fn sync_names(&mut self) {
        self.durable = self.current.clone();
        self.renames.clear();
        for versions in self.indexes.values_mut() {
            // One that was removed does not come back.
            if let Some(at) = versions.iter().rposition(Option::is_none) {
                versions.drain(..at);
            }
        }
    }

    /// Makes `changes`, and calls `with` after each with its place and what the folder then is.
    pub(in crate::storage) fn each_state(
        mut self,
        changes: &[Op],
        mut with: impl FnMut(usize, &Self),
    ) {
        let mut none = Random(0);
        for (at, op) in changes.iter().enumerate() {
            self.apply(op, &mut none);
            if !matches!(op, Op::Index(_, _, false)) {
                with(at, &self);
            }
        }
    }

    /// Puts into `to` what a power cut now might leave.
    pub(in crate::storage) fn leave(&self, keep: Keep, random: &mut Random, to: &Path) {
        let made = match keep {
            Keep::None => false,
            Keep::All => self.dir_made,
            Keep::Some => self.dir_made && random.coin(),
        };
        if !self.dir_durable && !made {
            return;
        }
        fs::create_dir_all(to).unwrap();
        for (name, number) in self.names(keep, random) {
            let empty = Contents::default();
            let contents = self.files.get(&number).unwrap_or(&empty);
            fs::write(to.join(&name), contents.left(keep, random)).unwrap();
            if name.ends_with(".log") {
                self.leave_index(&name.replace(".log", ".index"), random, to);
            }
        }
        for name in self.indexes.keys().filter(|name| name.ends_with(".tmp")) {
            self.leave_index(name, random, to);
        }
    }

    fn names(&self, keep: Keep, random: &mut Random) -> BTreeMap<String, usize> {
        let mut names = self.durable.clone();
        let upto = random.below(self.renames.len() + 1);
        let in_order = random.coin();
        for (at, change) in self.renames.iter().enumerate() {
            let is_done = match keep {
                Keep::None => false,
                Keep::All => true,
                Keep::Some if in_order => at < upto,
                Keep::Some => random.coin(),
            };
            if is_done {
                change.apply(&mut names);
            }
        }
        names
    }

    fn leave_index(&self, name: &str, random: &mut Random, to: &Path) {
        let versions = self.indexes.get(name).map(Vec::as_slice).unwrap_or_default();
        let version = versions.get(random.below(versions.len())).cloned().flatten();
        let other = versions.get(random.below(versions.len())).cloned().flatten();
        let len = version.as_ref().map_or(4096, Vec::len);
        let contents = match random.below(6) {
            0 => return,
            1 => vec![0; len],
            2 => (0..len).map(|_| random.next() as u8).collect(),
            3 => {
                let (Some(mut mixed), Some(other)) = (version, other) else { return };
                let len = mixed.len().min(other.len());
                for at in (0..len).step_by(SECTOR).filter(|at| (at / SECTOR).is_multiple_of(2)) {
                    let end = (at + SECTOR).min(len);
                    mixed[at..end].copy_from_slice(&other[at..end]);
                }
                mixed
            }
            _ => match version {
                Some(version) => version,
                None => return,
            },
        };
        fs::write(to.join(name), contents).unwrap();
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, number) => {
                names.insert(name.clone(), *number);
            }
            Self::Rename(from, to, number) => {
                if names.get(from) == Some(number) {
                    names.remove(from);
                }
                names.insert(to.clone(), *number);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Contents {
    /// A sync failed: of what was written, only some sectors may still come to the disk. Lengths are the
    /// journal's.
    fn lose(&mut self, random: &mut Random) {
        let mut left = Vec::new();
        for change in self.pending.drain(..) {
            let Change::Write(position, bytes) = change else {
                left.push(change);
                continue;
            };
            left.push(Change::Grow(position + bytes.len()));
            let mut at = position;
            while at < position + bytes.len() {
                let upto = ((at / SECTOR + 1) * SECTOR).min(position + bytes.len());
                if random.coin() {
                    left.push(Change::Write(at, bytes[at - position..upto - position].to_vec()));
                }
                at = upto;
            }
        }
        self.pending = left;
    }

    /// The file with all, none or some of what was not synced.
    fn left(&self, keep: Keep, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if keep == Keep::None {
            return bytes;
        }
        let lengths = match (keep, random.below(4)) {
            (Keep::All, _) | (_, 0) => self.pending.len(),
            _ => random.below(self.pending.len() + 1),
        };
        // A sector has been written some time, with what it held then.
        let mut written_at: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, change) in self.pending.iter().enumerate() {
            match change {
                Change::SetLen(len) if at < lengths => bytes.resize(*len, 0),
                Change::Grow(len) if at < lengths => bytes.resize((*len).max(bytes.len()), 0),
                Change::SetLen(_) | Change::Grow(_) => {}
                Change::Write(position, written) => {
                    let end = position + written.len();
                    if at < lengths && end > bytes.len() {
                        bytes.resize(end, 0);
                    }
                    write_sectors(&mut bytes, *position, written, |sector| {
                        let draw = || self.draw_time(keep, random);
                        at < *written_at.entry(sector).or_insert_with(draw)
                    });
                }
            }
        }
        bytes
    }

    /// Up to which change a sector was written.
    fn draw_time(&self, keep: Keep, random: &mut Random) -> usize {
        let all = self.pending.len();
        if keep == Keep::All || random.below(3) > 0 { all } else { random.below(all) }
    }
}

/// Writes those sectors of `written` that `is_there` picks, as far as they lie inside of `bytes`.
fn write_sectors(
    bytes: &mut [u8],
    position: usize,
    written: &[u8],
    mut is_there: impl FnMut(usize) -> bool,
) {
    let (mut at, end) = (position, (position + written.len()).min(bytes.len()));
    while at < end {
        let upto = ((at / SECTOR + 1) * SECTOR).min(end);
        if is_there(at / SECTOR) {
            bytes[at..upto].copy_from_slice(&written[at - position..upto - position]);
        }
        at = upto;
    }
}
