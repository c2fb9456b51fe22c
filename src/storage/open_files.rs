//! How many segments have their files open at a time: the least recently used ones are closed.
//!
//! ```text
//! opened ─► [ front … back ]   over the budget, or the system has no descriptor left:
//!              └─ used since it was last looked at? ─ yes ─► to the back, a second chance
//!                                                   └ no ──► closed, unless it must stay open now
//! ```
//! Kafka keeps every segment open and asks for a higher limit. Here a use costs one flag of its own, and
//! the queue is locked only to open.
//!
//! **Invariant:** a change that is half done does not fail for want of a descriptor: whoever makes it gets a
//! spare one, or waits ([`OpenFiles::insist`]). Everybody else is told, and tries again without a lock.
//! **Invariant:** what is in use, or holds what no sync has confirmed, is not closed: a failed write is
//! told to descriptors that were open at the time.
//! Deliberately elsewhere: what is closed and how it is opened again ([`SegmentFiles`]).
//!
//! [`SegmentFiles`]: super::segment_files::SegmentFiles

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::disk::Disk;
use super::locks::lock;

/// Looks at the queue in one go: it is locked meanwhile.
const LOOKS_MAX: usize = 256;
/// How many are closed at once where the system has no descriptor left.
const CLOSED_AT_ONCE: usize = 16;
/// How often one opening makes room: others may take what was freed.
const ATTEMPTS: usize = 16;
/// Descriptors that are kept for changes that are half done: these hold locks.
const SPARES: usize = 8;
/// Between two attempts of one who waits: nobody tells when the system has a descriptor again.
const PAUSE: Duration = Duration::from_millis(20);
/// After so many it says so.
const PATIENT_ATTEMPTS: usize = 50;

/// Does something that waits, and sees to it that what else the thread has to do is not held up.
pub type Wait = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// Something that can be closed, and opens itself again.
pub(super) trait Closable: Send + Sync {
    /// Its place in the queue.
    fn mark(&self) -> &UseMark;

    /// Closes it; false where it has to stay open now. Must not wait for a lock.
    fn close(&self) -> bool;
}

/// Whether a [`Closable`] is queued, and was used lately.
#[derive(Default)]
pub(super) struct UseMark {
    used: AtomicBool,
    queued: AtomicBool,
}

impl UseMark {
    pub(super) fn note_use(&self) {
        // Only read where it says so already: readers of one segment share the line.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

/// The budget, and what is open.
pub(super) struct OpenFiles {
    max: usize,
    wait: Wait,
    spares: Mutex<Vec<File>>,
    queue: Mutex<VecDeque<Weak<dyn Closable>>>,
}

impl OpenFiles {
    /// A budget of `max`; more are open only while none of them can be closed.
    pub(super) fn new(max: usize, wait: Wait) -> Self {
        let files = Self { max, wait, spares: Mutex::default(), queue: Mutex::default() };
        files.refill_spares();
        files
    }

    /// Notes that `item` is open, and closes others that are too many.
    pub(super) fn note_opened<T: Closable + 'static>(&self, item: &Arc<T>) {
        let mut queue = lock(&self.queue);
        if !item.mark().queued.swap(true, Ordering::Relaxed) {
            let item = Arc::downgrade(item);
            queue.push_back(item);
        }
        self.close_excess(&mut queue);
    }

    /// Closes what is too much: some that had to stay open can go now.
    pub(super) fn shrink(&self) {
        self.close_excess(&mut lock(&self.queue));
    }

    fn close_excess(&self, queue: &mut VecDeque<Weak<dyn Closable>>) {
        let excess = queue.len().saturating_sub(self.max);
        close(queue, excess);
    }

    /// Opens something; where the system has no descriptor left, others are closed for it.
    pub(super) fn open<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        for _ in 0..ATTEMPTS {
            match open() {
                Err(error) if is_out_of_files(&error) => {
                    if close(&mut lock(&self.queue), CLOSED_AT_ONCE) == 0 {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
        open()
    }

    /// Does something that needs a descriptor, however long it takes until there is one: where segments and
    /// spares have given way and others took what was freed, it waits.
    pub(super) fn insist<T, E: Scarcity>(
        &self,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        for failed in 1.. {
            match attempt() {
                Err(error) if error.is_out_of_files() => {
                    if failed == PATIENT_ATTEMPTS {
                        tracing::warn!(%error, "waiting for a file descriptor: raise the limit (`ulimit -Hn`)");
                    }
                    if close(&mut lock(&self.queue), CLOSED_AT_ONCE) == 0 && !self.give_spare() {
                        (self.wait)(&mut || std::thread::sleep(PAUSE));
                    }
                }
                outcome => {
                    self.refill_spares();
                    return outcome;
                }
            }
        }
        unreachable!("it goes on until there is an outcome")
    }

    /// Frees a spare descriptor; whether there was one.
    fn give_spare(&self) -> bool {
        lock(&self.spares).pop().is_some()
    }

    fn refill_spares(&self) {
        let mut spares = lock(&self.spares);
        while spares.len() < SPARES
            && let Ok(spare) = File::open("/dev/null")
        {
            spares.push(spare);
        }
    }

    /// Closes one for something else that needs a descriptor, as long as half of the budget is left; whether
    /// there was one to close.
    pub(super) fn close_one(&self) -> bool {
        let mut queue = lock(&self.queue);
        queue.retain(|item| item.strong_count() > 0);
        queue.len() > self.max / 2 && close(&mut queue, 1) == 1
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        lock(&self.queue).iter().filter(|item| item.strong_count() > 0).count()
    }
}

/// Closes up to `count`, those first that were used longest ago; how many went.
fn close(queue: &mut VecDeque<Weak<dyn Closable>>, count: usize) -> usize {
    let mut looks = LOOKS_MAX.min(queue.len() * 2);
    let mut closed = 0;
    while closed < count && looks > 0 {
        looks -= 1;
        let Some(item) = queue.pop_front() else { break };
        let Some(open) = item.upgrade() else {
            closed += 1;
            continue;
        };
        if open.mark().used.swap(false, Ordering::Relaxed) || !open.close() {
            queue.push_back(item);
        } else {
            open.mark().queued.store(false, Ordering::Relaxed);
            closed += 1;
        }
    }
    closed
}

/// An error that may be for want of a descriptor.
pub(super) trait Scarcity: std::fmt::Display {
    /// Whether it is: then nothing was done.
    fn is_out_of_files(&self) -> bool;
}

impl Scarcity for io::Error {
    fn is_out_of_files(&self) -> bool {
        is_out_of_files(self)
    }
}

/// Whether the process, or the system, has as many files open as it may.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// A disk for which segments are closed where it has no descriptor left.
pub(super) struct SparingDisk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) open_files: Arc<OpenFiles>,
}

impl Disk for SparingDisk {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.open_files.open(|| self.disk.create(path))
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.open_files.open(|| self.disk.open_or_create(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Without a descriptor nothing was synced yet: this is no second attempt at a failed sync.
        self.open_files.open(|| self.disk.sync_dir(dir))
    }
}

/// For threads that have nothing else to do.
pub(super) fn alone() -> Wait {
    Arc::new(|waiting| waiting())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Item {
        mark: UseMark,
        open: AtomicBool,
        busy: AtomicBool,
    }

    impl Closable for Item {
        fn mark(&self) -> &UseMark {
            &self.mark
        }

        fn close(&self) -> bool {
            if self.busy.load(Ordering::Relaxed) {
                return false;
            }
            assert!(self.open.swap(false, Ordering::Relaxed), "closed twice");
            true
        }
    }

    impl Item {
        fn opened(files: &OpenFiles) -> Arc<Self> {
            let item = Arc::new(Self::default());
            item.open(files);
            item
        }

        fn open(self: &Arc<Self>, files: &OpenFiles) {
            self.open.store(true, Ordering::Relaxed);
            files.note_opened(self);
        }

        fn is_open(&self) -> bool {
            self.open.load(Ordering::Relaxed)
        }
    }

    fn no_more() -> io::Error {
        io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())
    }

    fn open_of(items: &[Arc<Item>]) -> Vec<bool> {
        items.iter().map(|item| item.is_open()).collect()
    }

    #[test]
    fn the_one_that_was_used_longest_ago_is_closed() {
        let files = OpenFiles::new(3, alone());
        let mut items: Vec<_> = (0..3).map(|_| Item::opened(&files)).collect();
        items[0].mark.note_use();
        items.push(Item::opened(&files));
        assert_eq!(open_of(&items), [true, false, true, true], "the first had a second chance");
        items[1].open(&files);
        assert_eq!(open_of(&items), [true, true, false, true]);
        // One that is open already takes no second place.
        items[1].open(&files);
        assert_eq!((open_of(&items), files.count()), (vec![true, true, false, true], 3));
    }

    #[test]
    fn what_has_to_stay_open_stays_and_goes_later() {
        let files = OpenFiles::new(2, alone());
        let items: Vec<_> = (0..2).map(|_| Item::opened(&files)).collect();
        items.iter().for_each(|item| item.busy.store(true, Ordering::Relaxed));
        let third = Item::opened(&files);
        assert!(!third.is_open(), "the only one that can be closed");
        third.busy.store(true, Ordering::Relaxed);
        third.open(&files);
        assert_eq!((files.count(), third.is_open()), (3, true));
        items.iter().for_each(|item| item.busy.store(false, Ordering::Relaxed));
        let _fourth = Item::opened(&files);
        assert_eq!((open_of(&items), files.count()), (vec![false, false], 2));
    }

    #[test]
    fn what_is_dropped_makes_room_and_is_not_kept() {
        let files = OpenFiles::new(2, alone());
        let kept = Item::opened(&files);
        for _ in 0..100 {
            kept.mark.note_use();
            drop(Item::opened(&files));
        }
        assert!(kept.is_open());
        assert_eq!((files.count(), lock(&files.queue).len()), (1, 2));
    }

    #[test]
    fn without_a_descriptor_others_are_closed_as_long_as_that_helps() {
        let files = OpenFiles::new(100, alone());
        let items: Vec<_> = (0..40).map(|_| Item::opened(&files)).collect();
        let left = || items.iter().filter(|item| item.is_open()).count();
        let open =
            |when: usize| files.open(|| if left() > when { Err(no_more()) } else { Ok(left()) });
        assert_eq!(open(100).unwrap(), 40);
        assert_eq!(open(20).unwrap(), 8);
        items.iter().for_each(|item| item.busy.store(true, Ordering::Relaxed));
        assert!(is_out_of_files(&open(2).unwrap_err()));
        let other = files.open(|| Err::<(), _>(io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!((other.kind(), left()), (io::ErrorKind::NotFound, 8));
    }

    #[test]
    fn who_insists_has_a_descriptor_in_the_end() {
        let files = OpenFiles::new(100, Arc::new(|_| {}));
        let items: Vec<_> = (0..20).map(|_| Item::opened(&files)).collect();
        let mut attempts = 0;
        let outcome = files.insist(|| {
            attempts += 1;
            if attempts < 1_000 { Err(no_more()) } else { Ok(attempts) }
        });
        assert_eq!(outcome.unwrap(), 1_000);
        assert!(!items.iter().any(|item| item.is_open()), "others were closed first");
        let refused = files.insist(|| Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn who_insists_has_a_spare_before_it_waits() {
        let files = OpenFiles::new(100, Arc::new(|_| panic!("it waits")));
        let item = Item::opened(&files);
        let spares = || lock(&files.spares).len();
        let outcome = files.insist(|| if spares() > 5 { Err(no_more()) } else { Ok(()) });
        assert!(outcome.is_ok() && !item.is_open());
        assert_eq!(spares(), SPARES, "for the next one");
    }

    #[test]
    fn half_of_the_budget_is_not_for_others() {
        let files = OpenFiles::new(8, alone());
        let items: Vec<_> = (0..6).map(|_| Item::opened(&files)).collect();
        let closed = (0..10).filter(|_| files.close_one()).count();
        assert_eq!((closed, items.iter().filter(|item| item.is_open()).count()), (2, 4));
    }
}
