//! Waiting until any partition of a fetch has moved.
//!
//! **Invariant:** no move is missed between a look and the wait after it: a watch is marked as seen
//! before the look.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::session::FetchTarget;
use crate::handlers::context::Context;
use crate::model::{Offset, PartitionIndex};
use jackdaw_raft::Role;

/// The high watermarks and roles of a fetch's partitions.
pub(super) struct Watches {
    high_watermarks: Vec<watch::Receiver<Offset>>,
    roles: Vec<watch::Receiver<Role>>,
}

impl Watches {
    /// Watches the partitions that run here; the others fail the fetch at once anyway.
    pub(super) fn new(ctx: &Context, targets: &[FetchTarget]) -> Self {
        let mut watches = Self { high_watermarks: Vec::new(), roles: Vec::new() };
        for target in targets {
            if let Ok((_, partition)) = ctx.resolve(&target.topic, PartitionIndex(target.partition))
            {
                watches.high_watermarks.push(partition.watch_high_watermark());
                watches.roles.push(partition.watch_role());
            }
        }
        watches
    }

    /// Takes all that has happened so far as seen.
    pub(super) fn mark_seen(&mut self) {
        self.high_watermarks.iter_mut().for_each(watch::Receiver::mark_unchanged);
        self.roles.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }

    /// Resolves when a role has changed, or a partition was closed.
    pub(super) async fn role_moved(&mut self) {
        any_changed(&mut self.roles).await;
    }

    /// Resolves when a high watermark or a role has changed, or a partition was closed.
    pub(super) async fn moved(&mut self) {
        tokio::select! {
            () = any_changed(&mut self.high_watermarks) => {}
            () = any_changed(&mut self.roles) => {}
        }
    }
}

/// Resolves when one of the watches has changed or ended; never where there are none.
async fn any_changed<T>(watches: &mut [watch::Receiver<T>]) {
    let mut changes: FuturesUnordered<_> =
        watches.iter_mut().map(watch::Receiver::changed).collect();
    if changes.next().await.is_none() {
        std::future::pending().await
    }
}
