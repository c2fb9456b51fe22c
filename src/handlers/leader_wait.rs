//! Waits for elections that are under way, so that a client is told who leads in place of asking again
//! and again: every answer of "nobody yet" costs it a pause, each longer than the one before.
//!
//! **Invariant:** nobody waits for long: a partition without a majority has no leader for hours.

use std::time::Duration;

use futures_util::future::join_all;

use super::context::{Context, TopicRef};
use super::metadata_port::MetadataPort;
use crate::model::{PartitionIndex, TopicId};

/// Longest wait. An election takes a fraction of it.
const WAIT_MAX: Duration = Duration::from_millis(400);
/// Between two looks, so that a thousand elections cost a few of them.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Waits until all of the partitions have a leader, for a moment at most.
pub(super) async fn until_led(
    port: &dyn MetadataPort,
    mut leaderless: Vec<(TopicId, PartitionIndex)>,
) {
    if leaderless.is_empty() {
        return;
    }
    let mut changes = port.leadership();
    let led = async {
        loop {
            changes.mark_unchanged();
            leaderless.retain(|(topic, partition)| port.leader_of(*topic, *partition).is_none());
            if leaderless.is_empty() || changes.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    };
    // Whoever still has none is answered as such.
    let _ = tokio::time::timeout(WAIT_MAX, led).await;
}

/// Waits until this node, where it was elected a moment ago, may serve what it leads of the partitions, for a
/// moment at most.
pub(super) async fn until_ready(ctx: &Context, partitions: Vec<(TopicRef, i32)>) {
    let ready = partitions.into_iter().filter_map(|(topic, index)| {
        let (_, partition) = ctx.resolve(&topic, PartitionIndex(index)).ok()?;
        Some(async move { partition.until_ready().await })
    });
    join_all(ready).await;
}
