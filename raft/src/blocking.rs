//! Blocking work from an asynchronous task.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs `work`, which may wait for a disk, without holding up other tasks of a multi-threaded
/// runtime. On a current-thread runtime there is nowhere to move them: it simply runs.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs `work`, which may take long, on a thread of its own, to its end even where nobody waits for it any
/// more. On a current-thread runtime it runs at once, so that what comes first does not hang on
/// the machine.
///
/// # Errors
/// It panicked on its thread.
pub async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::spawn_blocking(work).await,
        _ => Ok(work()),
    }
}
