//! Blocking work from an asynchronous task.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work`, which may wait for a disk, without holding up other tasks of a multi-threaded
/// runtime. On a current-thread runtime there is nowhere to move them: it simply runs.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
