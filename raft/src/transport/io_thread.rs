//! Where connections to peers are read, written and watched.
//!
//! **Invariant:** whatever the process does elsewhere (thousands of elections at once, say), a heartbeat waits
//! for nothing but the processor: a node that is busy must not be taken for dead, nor take others for it.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The runtime of a node's connections. What they lead to runs in the node's own.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    /// Dropped, it ends the thread.
    _end: Option<oneshot::Sender<()>>,
}

impl IoThread {
    /// A thread with a runtime of its own.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            // Never sent: it ends by the drop of the other side.
            let _ = runtime.block_on(ended);
        };
        std::thread::Builder::new().name("peers".to_owned()).spawn(run)?;
        Ok(Self { handle, _end: Some(end) })
    }

    /// The runtime that the caller runs in.
    pub(super) fn shared() -> Self {
        Self { handle: Handle::current(), _end: None }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(task)
    }
}
