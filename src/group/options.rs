//! What the operator sets about groups, under Kafka's keys where Kafka has one.

/// Limits and delays of every group. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for
    /// more members; every new one within it extends the wait by as much, up to the rebalance
    /// timeout.
    ///
    /// Kafka's default is 3000, chosen for deployments that start over minutes; a lone consumer
    /// then waits 3 s for nothing. With 0 the first member gets everything and its sibling, started
    /// 50 ms later, waits for the first one's next heartbeat (3 s by default in clients) before
    /// it gets anything. 250 covers processes and threads that are started together, spares them
    /// that second rebalance, and is not felt by a lone consumer.
    pub initial_rebalance_delay_ms: u32,
    /// `group.max.size`: members of one group. Kafka's default is unbounded; a bound keeps a
    /// hostile client from filling the memory.
    pub members_max: usize,
    /// Member ids given out but not yet used (KIP-394), per group; the oldest is dropped first.
    pub pending_members_max: usize,
    /// How long a new member's first join may wait; Kafka's `NewMemberJoinTimeoutMs`.
    pub new_member_join_timeout_ms: u32,
    /// Subscription bytes of one group's members, and again the bytes of its assignments. A group
    /// is one record, which has to fit one entry of the metadata group.
    pub group_bytes_max: usize,
    /// Groups that the cluster holds.
    pub groups_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// Offsets that one write to the store carries at most.
    pub commit_batch_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_ms: u32,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 250,
            members_max: 10_000,
            pending_members_max: 1_000,
            new_member_join_timeout_ms: 300_000,
            group_bytes_max: 8 << 20,
            groups_max: 100_000,
            offset_metadata_bytes_max: 4_096,
            commit_batch_max: 5_000,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_ms: 600_000,
        }
    }
}
