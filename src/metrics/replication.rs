//! How this node's groups fare: leadership, elections, and what other nodes lack.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Where this node's groups stand; read when the metrics are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicationSample {
    /// Raft groups open here, the metadata group included.
    pub groups: u64,
    /// Those that this node leads.
    pub groups_led: u64,
    /// Elections that this node stood for by itself.
    pub elections_stood: u64,
    /// Elections that it won.
    pub elections_won: u64,
    /// Leaderships that it handed over.
    pub transfers_made: u64,
    /// Leaderships that it meant to hand over and could not.
    pub transfers_failed: u64,
    /// Old entries sent to replicas that were away, bytes.
    pub catch_up_bytes: u64,
    /// The other nodes.
    pub peers: Vec<PeerSample>,
    /// Entries that the voter furthest behind lacks, over the partitions that this node leads.
    pub lag_max: u64,
    /// Partitions with a replica here that nobody is known to lead.
    pub leaderless: u64,
    /// Partitions led here that have a replica which is down, behind or being refilled.
    pub under_replicated: u64,
}

/// Another node as this one hears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerSample {
    /// Its id.
    pub peer: u64,
    /// Whether it is heard.
    pub alive: bool,
    /// From the last heartbeat to its echo, if there was one.
    pub round_trip: Option<Duration>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PeerLabel {
    peer: u64,
}

/// The metrics made of a [`ReplicationSample`].
#[derive(Debug, Default)]
pub(super) struct ReplicationMetrics {
    groups: Gauge,
    groups_led: Gauge,
    elections_stood: Counter,
    elections_won: Counter,
    transfers_made: Counter,
    transfers_failed: Counter,
    catch_up_bytes: Counter,
    peer_alive: Family<PeerLabel, Gauge>,
    peer_round_trip: Family<PeerLabel, Gauge<f64, AtomicU64>>,
    lag_max: Gauge,
    leaderless: Gauge,
    under_replicated: Gauge,
}

impl ReplicationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        for (name, help, gauge) in [
            ("raft_groups", "Raft groups on this node, the metadata group included", &new.groups),
            ("raft_groups_led", "Raft groups that this node leads", &new.groups_led),
            (
                "replication_lag_max_entries",
                "Entries that the voter furthest behind lacks, of the partitions led by this node",
                &new.lag_max,
            ),
            (
                "leaderless_partitions",
                "Partitions with a replica on this node that nobody is known to lead",
                &new.leaderless,
            ),
            (
                "under_replicated_partitions",
                "Partitions led by this node with a replica that is down, behind or being refilled",
                &new.under_replicated,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, counter) in [
            (
                "elections_stood",
                "Elections that this node stood for by itself",
                &new.elections_stood,
            ),
            (
                "elections_won",
                "Elections that this node won, those after a hand-over included",
                &new.elections_won,
            ),
            ("leadership_transfers", "Leaderships handed over by this node", &new.transfers_made),
            (
                "leadership_transfers_failed",
                "Leaderships that the node they were meant for did not get",
                &new.transfers_failed,
            ),
            (
                "catch_up_bytes",
                "Old entries sent by this node to replicas that were away",
                &new.catch_up_bytes,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        let help = "1 for each other node that this one hears";
        registry.register("peer_alive", help, new.peer_alive.clone());
        let help = "From a heartbeat to its echo, the last one of each node that is heard";
        let round_trip = new.peer_round_trip.clone();
        registry.register_with_unit("peer_round_trip", help, Unit::Seconds, round_trip);
        new
    }

    pub(super) fn set(&self, sample: &ReplicationSample) {
        let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.groups.set(signed(sample.groups));
        self.groups_led.set(signed(sample.groups_led));
        self.lag_max.set(signed(sample.lag_max));
        self.leaderless.set(signed(sample.leaderless));
        self.under_replicated.set(signed(sample.under_replicated));
        // The groups count; what is shown only ever grows, as their counters do.
        for (counter, value) in [
            (&self.elections_stood, sample.elections_stood),
            (&self.elections_won, sample.elections_won),
            (&self.transfers_made, sample.transfers_made),
            (&self.transfers_failed, sample.transfers_failed),
            (&self.catch_up_bytes, sample.catch_up_bytes),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
        self.peer_round_trip.clear();
        for PeerSample { peer, alive, round_trip } in &sample.peers {
            let label = PeerLabel { peer: *peer };
            self.peer_alive.get_or_create(&label).set(i64::from(*alive));
            if let Some(round_trip) = round_trip.filter(|_| *alive) {
                self.peer_round_trip.get_or_create(&label).set(round_trip.as_secs_f64());
            }
        }
    }
}
