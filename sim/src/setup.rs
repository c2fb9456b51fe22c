//! What a seed decides before a run begins.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Ticks of a run, ms of simulated time.
pub(crate) const TICKS: u64 = 50_000;

/// The size of the cluster, its pace and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// What all else follows from.
    pub(crate) seed: u64,
    /// Nodes: 3 or 5.
    pub(crate) node_count: i32,
    /// Partitions of the topic.
    pub(crate) partitions: i32,
    /// Age at which a segment is closed, ms.
    pub(crate) segment_ms: u64,
    /// Longest time that a message travels, ms.
    pub(crate) latency_ms_max: u64,
    /// Longest time that a sync takes as a rule, ms.
    pub(crate) sync_ms_max: u64,
    /// Whether faults happen.
    pub(crate) has_faults: bool,
}

impl Setup {
    /// Draws a run's.
    pub(crate) fn draw(seed: u64, has_faults: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self {
            seed,
            node_count: if random.random_ratio(1, 5) { 5 } else { 3 },
            partitions: 8,
            segment_ms: [1_000, 5_000, 3_600_000][random.random_range(0..3)],
            latency_ms_max: [1, 5, 20][random.random_range(0..3)],
            sync_ms_max: [1, 4, 15][random.random_range(0..3)],
            has_faults,
        }
    }

    /// The ids of the nodes.
    pub(crate) fn nodes(&self) -> Vec<i32> {
        (1..=self.node_count).collect()
    }

    /// Replicas of each partition.
    pub(crate) fn replicas(&self) -> i16 {
        3
    }
}
