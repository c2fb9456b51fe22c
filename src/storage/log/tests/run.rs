//! Does steps to a log on a disk with faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::fault_disk::FaultDisk;
use super::held::{Allowed, Held};
use super::script::{Planned, Step};
use super::*;
use crate::model::ManualClock;
use crate::storage::{Committed, Compacted, Compaction, CompactionLimits};

/// A log on a [`FaultDisk`] and what it must hold.
pub(super) struct Run {
    pub(super) disk: Arc<FaultDisk>,
    pub(super) dir: std::path::PathBuf,
    storage: Storage,
    pub(super) log: Option<Log>,
    pub(super) held: Arc<Held>,
    flush: FlushPolicy,
    fatal: Arc<AtomicUsize>,
    /// Segments that compactions replaced.
    pub(super) segments_compacted: u64,
}

impl Run {
    /// A log in `dir`, not opened yet.
    pub(super) fn new(dir: &Path, cache_bytes_max: usize) -> Self {
        let disk = Arc::new(FaultDisk::new(dir));
        let fatal = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&fatal);
        let storage = Storage::new(StorageOptions {
            cache_bytes_max,
            open_segments_max: 1,
            disk: Arc::clone(&disk) as Arc<dyn crate::storage::Disk>,
            fatal: Arc::new(move |_, _| {
                seen.fetch_add(1, Ordering::SeqCst);
            }),
            clock: Arc::new(ManualClock::new(timestamp(0))),
            ..StorageOptions::default()
        })
        .inline();
        let (dir, held, flush) = (dir.to_owned(), Arc::new(Held::new()), FlushPolicy::Durable);
        let segments_compacted = 0;
        Self { disk, dir, storage, log: None, held, flush, fatal, segments_compacted }
    }

    /// Whether the process would have ended.
    pub(super) fn has_failed(&self) -> bool {
        self.fatal.load(Ordering::SeqCst) > 0
    }

    pub(super) fn log(&mut self) -> Result<&Log, LogError> {
        if self.log.is_none() {
            let options = LogOptions { flush: self.flush, ..small() };
            let (log, _) = Log::open(&self.dir, &identity(), options, &self.storage, None)?;
            self.log = Some(log);
        }
        Ok(self.log.as_ref().unwrap())
    }

    pub(super) fn plan(&self, step: Step) -> Planned {
        Planned::new(&self.held, step)
    }

    /// Does what was planned; when it succeeds, `held` says what the log holds.
    pub(super) fn step(&mut self, planned: &Planned) -> Result<(), LogError> {
        let result = self.step_now(planned);
        // What was asked for in the background belongs to the step.
        if let Some(log) = &self.log {
            log.quiesce();
        }
        result
    }

    fn step_now(&mut self, planned: &Planned) -> Result<(), LogError> {
        let Planned { step, appended, after, .. } = planned;
        let held_next = planned.before.next();
        let log = self.log()?;
        match step {
            Step::Append(_) | Step::NewTerm => log.append(appended).map(drop)?,
            Step::Sync => sync(log)?,
            Step::Truncate(_) => log.truncate_after(after.next().checked_sub(1))?,
            Step::Roll => log.seal_below(held_next)?,
            Step::Flush(policy) => {
                log.set_flush_policy(*policy);
                self.flush = *policy;
            }
            Step::Purge(_) => {
                if let (Some(purged), Some(snapshot)) = (after.purged, &after.snapshot)
                    && Some(purged) != log.purged()
                {
                    log.write_snapshot(snapshot)?;
                    log.purge(purged.index)?;
                }
            }
            Step::Reset => {
                log.write_snapshot(after.snapshot.as_deref().unwrap())?;
                log.reset(after.purged.unwrap(), after.start)?;
            }
            Step::Compact(_) => {
                let segments = compact(log, after.committed)?.segments;
                self.segments_compacted += segments;
            }
            Step::Restart => {
                log.close()?;
                self.log = None;
                self.log()?;
            }
            Step::Restarted => {
                self.log = None;
                self.log()?;
            }
        }
        self.held = Arc::clone(after);
        Ok(())
    }

    /// The process ended in some step, without the machine: opens the log again, which gives what
    /// `allowed` says; it goes on from there, all of it on the disk.
    pub(super) fn start_again(&mut self, allowed: &Allowed) -> Result<(), String> {
        self.log = None;
        self.disk.heal();
        self.fatal.store(0, Ordering::SeqCst);
        let log = self.log().map_err(|e| e.to_string())?.clone();
        allowed.check(&log)?;
        let as_before = log.purged() == allowed.before.purged;
        let mut held = Held::clone(if as_before { &allowed.before } else { &allowed.after });
        if as_before && held.check(&log, 0).is_err() {
            held = Held::clone(&allowed.after);
        }
        let next = log.last().map_or(0, |last| last.index + 1);
        held.entries.truncate((next - held.first) as usize);
        held.snapshot = log.read_snapshot().unwrap();
        held.durable = next;
        held.term = held.term.max(allowed.after.term);
        held.committed = held.committed.max(allowed.after.committed).min(next);
        self.held = Arc::new(held);
        Ok(())
    }
}

/// The group sync.
pub(super) fn sync(log: &Log) -> Result<(), LogError> {
    let (tell, told) = mpsc::channel();
    log.sync(Box::new(move |result| tell.send(result).unwrap()));
    told.recv().unwrap().map_err(LogError::io("sync", log.dir()))
}

/// Compacts what is committed, everything before an index. Tombstones stay.
pub(super) fn compact(log: &Log, committed: u64) -> Result<Compacted, LogError> {
    log.compact(&mut Compaction {
        limits: CompactionLimits {
            dirty_ratio_min: 0.0,
            lag_min_ms: 0,
            lag_max_ms: u64::MAX,
            tombstones_ms: 1_000,
        },
        now: timestamp(0),
        committed: Committed { next_index: committed, high_watermark: log.offset_of(committed)? },
        map_bytes_max: 1 << 20,
        pace: &mut |_| true,
    })
}

/// A folder in memory where there is one.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
