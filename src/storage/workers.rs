//! Who does the work on files that nobody waits for in place.
//!
//! By default threads do: the sync threads and the one of the background. A simulation has none, and does
//! it at times of its own choice.

use std::time::Duration;

/// Work to be done once.
pub type Job = Box<dyn FnOnce() + Send>;

/// Does work in place of threads. What is not done when the process ends is never done.
pub trait Workers: Send + Sync {
    /// Puts something on the disk, soon.
    fn sync(&self, job: Job);

    /// Does `job` when `time` is over.
    fn run_after(&self, time: Duration, job: Job);
}
