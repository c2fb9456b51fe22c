//! openraft's settings for every group of a node.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::error::RaftError;
use crate::mutant;
use crate::options::NodeOptions;

/// For the answer of a voter that is asked to confirm its leader; it comes behind the syncs under way.
const CONFIRM_MS: u64 = 1_000;
/// For the answer to a candidate, which syncs its vote before it asks, as the voter does before it answers.
pub(crate) const VOTE: Duration = Duration::from_millis(1_500);
/// A leader's lease, among voters and for writes. A year, because the time since a group was last heard of
/// tells nothing here: nodes watch one another, and end the lease of a leader that is gone
/// (`crate::succession`). Writes need no lease: a deposed leader commits none.
const LEASE_MS: u64 = 365 * 24 * 60 * 60 * 1_000;

pub(crate) fn openraft_config(options: &NodeOptions) -> Result<Arc<Config>, RaftError> {
    let timing = &options.timing;
    let config = Config {
        cluster_name: options.cluster.to_string(),
        heartbeat_interval: CONFIRM_MS,
        election_timeout_min: VOTE.as_millis() as u64,
        election_timeout_max: LEASE_MS,
        install_snapshot_timeout: timing.append_ms,
        // Groups have no timers: elections are called for by `crate::succession`, and the node's own
        // heartbeats stand for those of its groups.
        enable_tick: false,
        // Bytes bound a message, in the log adapter; this only bounds the count of tiny entries.
        max_payload_entries: 4_096,
        // Snapshots are taken when the application asks, and the log is purged up to them.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        // A node runs thousands of groups: each channel is allocated at its full size.
        api_channel_size: Some(1_024),
        notification_channel_size: Some(1_024),
        state_machine_channel_size: Some(64),
        log_stage_capacity: Some(8),
        enable_pre_vote: Some(true),
        // A restarted leader must not resume its term: what it had applied may be unsynced.
        enable_leader_restore: Some(mutant::is_on("leader-resumes")),
        // A follower that lost acknowledged entries (a replaced disk, a quarantined replica) is
        // filled again. Otherwise its leader would end, or never replicate to it again: that
        // would turn one node's loss into the group's.
        allow_log_reversion: Some(true),
        ..Config::default()
    };
    let config = config.validate().map_err(|error| RaftError::Options(error.to_string()))?;
    Ok(Arc::new(config))
}
