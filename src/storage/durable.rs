//! The promise that something is on disk.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::SyncDone;

/// Resolves when what was committed is on disk, or with the error. Dropping it cancels nothing.
#[must_use = "until it resolves the commit may be lost in a crash"]
pub struct Durable(oneshot::Receiver<io::Result<()>>);

impl Durable {
    pub(super) fn new() -> (Self, SyncDone) {
        let (tell, told) = oneshot::channel();
        let done = move |result| {
            // Whoever dropped its end does not want to know.
            let _ = tell.send(result);
        };
        (Self(told), Box::new(done))
    }

    /// Waits in this thread, which must not be one of an async runtime's.
    ///
    /// # Errors
    /// Of the flush.
    pub fn wait(self) -> io::Result<()> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> io::Error {
    io::Error::other("the sync thread is gone")
}

impl Future for Durable {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|told| told.unwrap_or_else(|_| Err(gone())))
    }
}
