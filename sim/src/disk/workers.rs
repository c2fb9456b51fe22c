//! Syncs and background work, in tasks that take simulated time.

use std::sync::Arc;
use std::time::Duration;

use jackdaw::storage::{Job, Workers};
use tokio::runtime::Handle;

use super::volume::Volume;
use crate::clock;

/// Works for the nodes of a [`Volume`].
pub(crate) struct SimWorkers(pub(crate) Arc<Volume>);

impl SimWorkers {
    /// What is asked for while a process ends is not done.
    fn after(time: Duration, job: Job) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(time).await;
                job();
            });
        }
    }
}

impl Workers for SimWorkers {
    fn sync(&self, job: Job) {
        let time = self.0.state().sync_time(clock::now_us());
        Self::after(time, job);
    }

    fn run_after(&self, time: Duration, job: Job) {
        Self::after(time, job);
    }
}
