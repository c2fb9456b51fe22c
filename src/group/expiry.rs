//! Which committed offsets have outlived their use (`offsets.retention.minutes`, KIP-211).
//!
//! **Invariant:** an offset that a live member may need is never expired.

use std::collections::BTreeSet;

use super::{GroupState, OffsetEntry};
use crate::model::Timestamp;

/// What the decision depends on.
#[derive(Clone, Debug)]
pub struct ExpiryView {
    /// The group's state.
    pub state: GroupState,
    /// Since when.
    pub state_since: Timestamp,
    /// Whether the group ever had members; otherwise it only stores positions.
    pub has_protocol_type: bool,
    /// The topics of a stable consumer group, if they can be told.
    pub subscribed: Option<BTreeSet<String>>,
}

/// The expired ones among a group's offsets.
///
/// - Group that only stores positions: `retention_ms` after the commit.
/// - Empty group: `retention_ms` after it became empty, or after the commit if that is later.
/// - Stable consumer group: `retention_ms` after the commit, topics that nobody subscribes to.
/// - Any other: none.
#[must_use]
pub fn expired_offsets(
    view: &ExpiryView,
    offsets: &[OffsetEntry],
    wall: Timestamp,
    retention_ms: i64,
) -> Vec<OffsetEntry> {
    let expires_from = |entry: &OffsetEntry| -> Option<i64> {
        let committed_at = entry.committed.committed_at.0;
        match (view.state, view.has_protocol_type, &view.subscribed) {
            (GroupState::Empty, false, _) => Some(committed_at),
            (GroupState::Empty, true, _) => Some(committed_at.max(view.state_since.0)),
            (GroupState::Stable, _, Some(topics)) => {
                (!topics.contains(&*entry.partition.topic)).then_some(committed_at)
            }
            _ => None,
        }
    };
    let expired = |entry: &&OffsetEntry| {
        expires_from(entry).is_some_and(|from| wall.0.saturating_sub(from) >= retention_ms)
    };
    offsets.iter().filter(expired).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::group::CommittedOffset;
    use crate::model::{LeaderEpoch, Offset, PartitionIndex, TopicPartition};

    fn entry(topic: &str, committed_at: i64) -> OffsetEntry {
        OffsetEntry {
            partition: TopicPartition::new(topic, PartitionIndex(0)),
            committed: CommittedOffset {
                offset: Offset(7),
                leader_epoch: LeaderEpoch(-1),
                metadata: Arc::from(""),
                committed_at: Timestamp(committed_at),
            },
        }
    }

    #[test]
    fn retention_counts_from_the_right_moment() {
        let offsets = [entry("a", 100), entry("b", 900)];
        let subscribed = Some(BTreeSet::from(["b".to_owned()]));
        // (state, since, had members, subscribed topics) at 1000 with a retention of 500 → expired
        let table = [
            ((GroupState::Empty, 0, false, None), vec!["a"]),
            ((GroupState::Empty, 800, true, None), vec![]),
            ((GroupState::Empty, 200, true, None), vec!["a"]),
            ((GroupState::Stable, 0, true, subscribed), vec!["a"]),
            ((GroupState::Stable, 0, true, None), vec![]),
            ((GroupState::PreparingRebalance, 0, true, None), vec![]),
        ];
        for ((state, since, has_protocol_type, subscribed), want) in table {
            let state_since = Timestamp(since);
            let view = ExpiryView { state, state_since, has_protocol_type, subscribed };
            let expired = expired_offsets(&view, &offsets, Timestamp(1000), 500);
            let topics: Vec<&str> = expired.iter().map(|entry| &*entry.partition.topic).collect();
            assert_eq!(topics, want, "{view:?}");
        }
    }
}
