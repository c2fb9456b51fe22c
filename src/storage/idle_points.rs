//! Puts on the disk the recovery points of logs that have gone idle: a busy log writes its own with its
//! syncs, and that of the last one would never be written.
//!
//! ```text
//! a log is synced ─► listed ─► looked at every few seconds ─┬─ synced since the last look: stays
//!                                                           └─ idle: point written, synced; off the list
//! ```
//! **Invariant:** two looks after a log's last sync the recovery point on the disk covers it.
//! **Invariant:** what a look costs the disk does not grow with the logs: many share one sync of the
//! volume. Nothing is looked at while no log is listed.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::background::Background;
use super::locks::lock;
use super::syncer::VolumeSync;

/// Between two looks: a log's last recovery point is on the disk after twice that.
const LOOK_INTERVAL: Duration = Duration::from_millis(2_500);
/// So many are synced one by one; for more a sync of the volume costs less.
const ALONE_MAX: usize = 8;

/// A log with a recovery point.
pub(super) trait PointKeeper: Send + Sync + 'static {
    /// Whether it was not synced since the last look.
    fn is_idle(&self) -> bool;

    /// Writes the recovery point, and unless `shared` syncs it. Whether a sync of the volume that begins
    /// now puts it on the disk.
    fn write_idle_point(&self, shared: bool) -> bool;

    /// The sync of the volume that was to cover it failed.
    fn note_failed(&self, error: &io::Error);
}

/// The logs whose recovery point on the disk may be old.
pub(super) struct IdlePoints {
    listed: Mutex<Listed>,
    volume: Option<VolumeSync>,
    background: Arc<Background>,
    interval: Duration,
}

#[derive(Default)]
struct Listed {
    logs: Vec<Weak<dyn PointKeeper>>,
    /// A look is going to come.
    due: bool,
}

impl IdlePoints {
    /// Looks in the background; `volume` syncs many at once.
    pub(super) fn new(volume: Option<VolumeSync>, background: Arc<Background>) -> Self {
        Self { listed: Mutex::default(), volume, background, interval: LOOK_INTERVAL }
    }

    /// Lists a log that was synced and is not listed.
    pub(super) fn list(self: &Arc<Self>, log: Weak<dyn PointKeeper>) {
        let mut listed = lock(&self.listed);
        listed.logs.push(log);
        if !std::mem::replace(&mut listed.due, true) {
            drop(listed);
            self.come_back();
        }
    }

    fn come_back(self: &Arc<Self>) {
        let points = Arc::downgrade(self);
        let asked = self.background.run_after(self.interval, move || {
            if let Some(points) = points.upgrade() {
                points.look();
            }
        });
        if let Err(error) = asked {
            tracing::warn!(%error, "recovery points of idle logs are not written now");
            lock(&self.listed).due = false;
        }
    }

    /// Writes the points of those that are idle.
    pub(super) fn look(self: &Arc<Self>) {
        let logs = std::mem::take(&mut lock(&self.listed).logs);
        let logs = logs.iter().filter_map(Weak::upgrade);
        let (idle, busy): (Vec<_>, Vec<_>) = logs.partition(|log| log.is_idle());
        let shared = idle.len() > ALONE_MAX && self.volume.is_some();
        let covered: Vec<_> = idle.iter().filter(|log| log.write_idle_point(shared)).collect();
        if let Some(sync) = self.volume.as_ref().filter(|_| !covered.is_empty())
            && let Err(error) = sync()
        {
            covered.iter().for_each(|log| log.note_failed(&error));
        }
        let mut listed = lock(&self.listed);
        listed.logs.extend(busy.iter().map(Arc::downgrade));
        listed.due = !listed.logs.is_empty();
        if listed.due {
            drop(listed);
            self.come_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Keeper {
        /// Looks at which it was busy.
        busy: AtomicUsize,
        alone: AtomicUsize,
        shared: AtomicUsize,
        failed: AtomicUsize,
    }

    impl PointKeeper for Keeper {
        fn is_idle(&self) -> bool {
            let left = |n: usize| n.checked_sub(1);
            self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err()
        }

        fn write_idle_point(&self, shared: bool) -> bool {
            let count = if shared { &self.shared } else { &self.alone };
            count.fetch_add(1, Ordering::Relaxed);
            shared
        }

        fn note_failed(&self, _: &io::Error) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn listed(points: &Arc<IdlePoints>, count: usize) -> Vec<Arc<Keeper>> {
        let keepers: Vec<Arc<Keeper>> = (0..count).map(|_| Arc::default()).collect();
        for keeper in &keepers {
            let keeper: Weak<Keeper> = Arc::downgrade(keeper);
            points.list(keeper);
        }
        keepers
    }

    #[test]
    fn a_log_is_written_once_when_it_is_idle() {
        let points = Arc::new(IdlePoints::new(None, Arc::new(Background::inline())));
        let keepers = listed(&points, 2);
        keepers[1].busy.store(1, Ordering::Relaxed);
        let written = || [0, 1].map(|at: usize| keepers[at].alone.load(Ordering::Relaxed));
        points.look();
        assert_eq!(written(), [1, 0]);
        points.look();
        points.look();
        assert_eq!(written(), [1, 1]);
    }

    #[test]
    fn many_share_a_sync_and_hear_of_its_failure() {
        let syncs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&syncs);
        let sync: VolumeSync = Arc::new(move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(io::Error::other("a test")),
        });
        let points = Arc::new(IdlePoints::new(Some(sync), Arc::new(Background::inline())));
        for failed in [0, 1] {
            let keepers = listed(&points, 1_000);
            points.look();
            assert!(keepers.iter().all(|keeper| keeper.shared.load(Ordering::Relaxed) == 1));
            assert!(keepers.iter().all(|keeper| keeper.failed.load(Ordering::Relaxed) == failed));
        }
        assert_eq!(syncs.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_look_comes_by_itself() {
        let interval = Duration::from_millis(1);
        let points = Arc::new(IdlePoints { interval, ..IdlePoints::new(None, Arc::default()) });
        let keepers = listed(&points, 1);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while keepers[0].alone.load(Ordering::Relaxed) == 0 {
            assert!(std::time::Instant::now() < deadline, "nobody looked at the log");
            std::thread::yield_now();
        }
    }
}
