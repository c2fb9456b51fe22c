//! Opens a log: finds its segments, recovers its end.
//!
//! **Invariant:** a missing or foreign segment is an error; only what no crash can leave behind
//! otherwise (left-over temporary files, purged segments, a half-done reset) is removed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::model::{Offset, Timestamp};
use crate::storage::cache::EntryCache;
use crate::storage::checkpoint::{Checkpoint, CheckpointFile};
use crate::storage::durable_file::TEMPORARY;
use crate::storage::epochs::Epochs;
use crate::storage::remover::GONE;
use crate::storage::retained::Retained;
use crate::storage::segment::{self, Segment};
use crate::storage::segment_head::{self, SegmentHead, StoredHead};
use crate::storage::syncer::SyncTicket;
use crate::storage::{Disk, LogError, LogIdentity, LogOptions, Storage};

use super::ahead::Ahead;
use super::append::Writer;
use super::applied::Applied;
use super::chain::Chain;
use super::compaction::CleanMark;
use super::flush::Flush;
use super::output::Output;
use super::purge::reset_head;
use super::recovery::{Recovered, drop_later, recover};
use super::sealed_times::SealedTimes;
use super::sync::{DurableEnd, Idle, SyncState};
use super::view::View;
use super::{Inner, Log};

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The log was made now.
    pub created: bool,
    /// It had been closed cleanly.
    pub clean: bool,
    /// Bytes whose CRCs were checked.
    pub checked_bytes: u64,
    /// Bytes cut off the end: of appends that no sync had confirmed.
    pub cut_bytes: u64,
    /// What was wrong at the cut, with file and position.
    pub cut_reason: Option<String>,
}

/// A folder's log files, before the last segment is looked into.
pub(super) struct Found {
    /// Each follows the one before.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Files of segments that follow none of them, of which nothing was durable.
    pub(super) rest: Vec<PathBuf>,
    pub(super) retained: Option<Retained>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) report: Recovery,
}

impl Log {
    /// Opens the log in `dir`, or makes it (the folder too). Cuts an unsynced, torn tail; what it
    /// returns is on disk, but for a log made now.
    ///
    /// `durable_hint` is an index up to which the caller knows that *this node* had all entries on
    /// disk (the smaller of the committed index and [`Log::durable_end`], saved earlier).
    ///
    /// # Errors
    /// [`LogError::Corrupt`] and [`LogError::Lost`] when what was durable is damaged or missing, and
    /// [`LogError::Short`] where only `durable_hint` says that it was;
    /// [`LogError::WrongIdentity`]; [`LogError::Io`].
    pub fn open(
        dir: &Path,
        identity: &LogIdentity,
        options: LogOptions,
        storage: &Storage,
        durable_hint: Option<u64>,
    ) -> Result<(Self, Recovery), LogError> {
        assert!(identity.cluster_id.len() <= 255, "a cluster id of at most 255 bytes");
        let found = find(dir, identity, storage, durable_hint)?;
        let retained = found.retained;
        let recovered = recover(dir, found, &options, storage, durable_hint)?;
        let Recovered { segments, end, last_term, epochs, allocated, due, report, .. } = recovered;
        let (durable, unsettled) = (recovered.durable, recovered.unsettled);
        let (generation, start) = (0, Offset::ZERO);
        if let Some(active) = segments.last() {
            active.set_frames(due.frames);
        }
        let sealed_before = segments.last().map_or(0, |active| active.head.first_index);
        let point = Checkpoint {
            segment: sealed_before,
            position: end.position,
            next_index: end.next_index,
            next_offset: end.next_offset,
            clean: false,
        };
        let sealed_bytes = View::sealed_bytes_of(&segments)?;
        let times = SealedTimes::of(&segments);
        let view = View {
            segments: segments.into(),
            times,
            end,
            retained,
            start,
            sealed_bytes,
            epochs,
            last_term,
            generation,
        };
        let inner = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            dir: dir.to_owned(),
            identity: identity.clone(),
            roll: RwLock::new(options.roll),
            flush: Flush::new(options.flush, end.next_index),
            options,
            storage: storage.clone(),
            writer: Mutex::new(Writer {
                allocated,
                growing: None,
                output: Output::default(),
                due,
                first_timestamp: None,
                since: storage.clock.now(),
                closed: false,
            }),
            view: RwLock::new(view),
            cache: EntryCache::new(Arc::clone(&storage.cache)),
            ticket: SyncTicket::default(),
            sync: Mutex::new(SyncState {
                durable: DurableEnd {
                    next_index: if durable { end.next_index } else { 0 },
                    next_offset: if durable { end.next_offset } else { Offset::ZERO },
                },
                point: durable.then_some((point, generation)),
                written: None,
                idle: Idle::default(),
                unsettled,
                sealed_before,
                closed: false,
            }),
            noting: Mutex::default(),
            on_volume: storage.volume.is_some() && storage.volume == device_of(dir),
            checkpoint: Mutex::new(CheckpointFile::new(dir)),
            clean_mark: CleanMark::new(dir),
            cutting: Mutex::default(),
            ahead: Ahead::default(),
            applied: Applied::default(),
            watch: OnceLock::new(),
            compacting: Mutex::default(),
            failed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        if !report.clean && !report.created {
            // What was looked at is on the disk now, and need not be looked at again.
            inner.list_idle_point();
        }
        Ok((Self(inner), report))
    }
}

/// Whose log a partition's folder holds, from its first segment; `None` when it holds no log.
///
/// # Errors
/// [`LogError::Corrupt`] when no segment has a sound head; [`LogError::Io`].
pub fn read_identity(dir: &Path) -> Result<Option<LogIdentity>, LogError> {
    let mut error = None;
    for path in segment_paths(dir)? {
        match StoredHead::read(&path).map_err(LogError::io("read", &path))? {
            Ok(stored) => return Ok(Some(stored.head.identity)),
            // Opening a log that was made just before the power went makes it again.
            Err(_) if segment_head::is_blank(&path).map_err(LogError::io("read", &path))? => {}
            Err(what) => error = Some(LogError::Corrupt { path, position: 0, what }),
        }
    }
    error.map_or(Ok(None), Err)
}

/// The segments' files in `dir`, by name; none if the folder is not there.
pub(in crate::storage) fn segment_paths(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LogError::io("list", dir)(e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(LogError::io("list", dir))?.path());
    }
    paths.retain(|path| segment::is_segment(path));
    paths.sort();
    Ok(paths)
}

fn find(
    dir: &Path,
    identity: &LogIdentity,
    storage: &Storage,
    durable_hint: Option<u64>,
) -> Result<Found, LogError> {
    let disk = &*storage.disk;
    disk.create_dir(dir).map_err(LogError::io("make", dir))?;
    remove_temporary(dir, disk)?;
    let mut retained = Retained::read(dir)?;
    let mut checkpoint =
        CheckpointFile::new(dir).read().map_err(LogError::io("read the checkpoint in", dir))?;
    let chain = if retained.is_some_and(|r| r.resetting) {
        settle_mark(dir, disk)?;
        for path in segment_paths(dir)? {
            disk.remove(&path).map_err(LogError::io("delete", &path))?;
        }
        CleanMark::new(dir).forget(&*storage.disk)?;
        if checkpoint.take().is_some() {
            CheckpointFile::remove(dir, disk)
                .map_err(LogError::io("delete the checkpoint in", dir))?;
        }
        Chain::default()
    } else {
        Chain::load(dir, retained.as_ref(), checkpoint.as_ref(), &storage.open_files)?
    };
    chain.check_rest(dir, &checkpoint, retained.as_ref(), durable_hint)?;
    let Chain { mut segments, rest } = chain;
    let mut rest: Vec<PathBuf> = rest.into_iter().map(|(path, _)| path).collect();
    let mut report = Recovery::default();
    if segments.is_empty() {
        drop_later(dir, &[], &std::mem::take(&mut rest), disk)?;
        let first = retained.map_or(0, |r| r.purged.index + 1);
        let finishing_reset = retained.is_some_and(|r| r.resetting);
        let had = checkpoint.map(|c| c.next_index).filter(|next| *next > 0).map(|next| next - 1);
        if let Some(durable_index) = durable_hint.max(had).filter(|_| !finishing_reset) {
            return Err(lost(dir, first, durable_index));
        }
        if retained.is_some() && !finishing_reset {
            return Err(lost(dir, first, first));
        }
        segments.push(create_first(dir, identity, retained.as_ref(), storage)?);
        report.created = !finishing_reset;
    }
    if let Some(mark) = retained.as_mut().filter(|r| r.resetting) {
        mark.resetting = false;
        mark.write(dir, disk).map_err(LogError::io("replace the retained mark in", dir))?;
    }
    drop_purged(dir, &mut segments, retained.as_ref(), disk)?;
    check_identity(&segments, identity)?;
    Ok(Found { segments, rest, retained, checkpoint, report })
}

fn device_of(dir: &Path) -> Option<u64> {
    fs::metadata(dir).ok().map(|meta| meta.dev())
}

pub(super) fn lost(dir: &Path, missing_index: u64, durable_index: u64) -> LogError {
    LogError::Lost { path: dir.to_owned(), missing_index, durable_index }
}

fn remove_temporary(dir: &Path, disk: &dyn Disk) -> Result<(), LogError> {
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let path = entry.map_err(LogError::io("list", dir))?.path();
        if path.extension().is_some_and(|e| e == TEMPORARY || e == GONE) {
            // A log that was just closed may still be at it.
            disk.remove_if_there(&path).map_err(LogError::io("delete", &path))?;
        }
    }
    Ok(())
}

fn create_first(
    dir: &Path,
    identity: &LogIdentity,
    retained: Option<&Retained>,
    storage: &Storage,
) -> Result<Arc<Segment>, LogError> {
    let head = match retained {
        Some(retained) => reset_head(retained, identity),
        None => SegmentHead {
            base_offset: Offset::ZERO,
            first_index: 0,
            term_before: None,
            previous_first_index: None,
            previous_max_timestamp: Timestamp::NONE,
            identity: identity.clone(),
            epochs: Epochs::default(),
        },
    };
    // A new log is not put on the disk yet: a thousand of them are made in no time, and nothing in
    // them is acknowledged before the first sync.
    let lazy = retained.is_none();
    Segment::create(dir, false, head, &*storage.disk, &storage.open_files, lazy, None)
        .map(Arc::new)
        .map_err(LogError::io("create a segment in", dir))
}

/// Makes the mark durable before anything is deleted on its word: who wrote it may not have come to it.
fn settle_mark(dir: &Path, disk: &dyn Disk) -> Result<(), LogError> {
    Retained::write_again(dir, disk)
        .and_then(|file| disk.sync_data(&file))
        .and_then(|()| disk.sync_dir(dir))
        .map_err(LogError::io("sync the retained mark in", dir))
}

/// Deletes what a purge had written down as gone when the process ended.
fn drop_purged(
    dir: &Path,
    segments: &mut Vec<Arc<Segment>>,
    retained: Option<&Retained>,
    disk: &dyn Disk,
) -> Result<(), LogError> {
    let Some(retained) = retained else { return Ok(()) };
    let is_gone = |s: &&Arc<Segment>| s.head.first_index <= retained.purged.index + 1;
    let count = segments.iter().skip(1).take_while(is_gone).count();
    if count > 0 {
        settle_mark(dir, disk)?;
    }
    segments.drain(..count).try_for_each(|segment| segment.delete(disk))
}

/// Every segment belongs to this log.
fn check_identity(segments: &[Arc<Segment>], identity: &LogIdentity) -> Result<(), LogError> {
    match segments.iter().find(|segment| segment.head.identity != *identity) {
        None => Ok(()),
        Some(segment) => Err(LogError::WrongIdentity {
            path: segment.path.clone(),
            found: segment.head.identity.to_string(),
            wanted: identity.to_string(),
        }),
    }
}
