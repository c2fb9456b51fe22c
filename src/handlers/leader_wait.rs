//! Waits for elections that are under way, so that a client is told who leads in place of asking again
//! and again: every answer of "nobody yet" costs it a pause, each longer than the one before.
//!
//! **Invariant:** nobody waits for long: a partition without a majority has no leader for hours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::context::{Context, TopicRef};
use super::metadata_port::MetadataPort;
use crate::model::{PartitionIndex, TopicId};
use crate::partition::Partition;

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

/// Those of the partitions for which this node was elected a moment ago, each once.
pub(super) fn new_ones(
    ctx: &Context,
    partitions: impl Iterator<Item = (TopicRef, i32)>,
) -> Vec<Arc<Partition>> {
    let mut new = BTreeMap::new();
    for (topic, index) in partitions {
        if let Ok((_, partition)) = ctx.resolve(&topic, PartitionIndex(index))
            && partition.is_new()
        {
            new.insert((partition.topic_id(), index), partition);
        }
    }
    new.into_values().collect()
}

/// Waits until this node may serve the partitions, for a moment at most.
pub(super) async fn until_ready(new: Vec<Arc<Partition>>) {
    join_all(new.iter().map(|partition| partition.until_ready())).await;
}
