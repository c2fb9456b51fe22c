//! What the process counts about itself: cheap atomics that any room may bump.
//!
//! Kept on a low floor and free of HTTP, so that partitions and the server can count; `admin`
//! renders the text that Prometheus reads.
//!
//! **Invariant:** counting takes no lock and no allocation, except one short lock per request for
//! the latency histogram.

mod compaction;
mod replication;
mod requests;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use replication::ReplicationMetrics;

pub use compaction::CompactionMetrics;
pub use replication::{PeerSample, ReplicationSample};
pub use requests::RequestMetrics;

/// The process's metrics. One per process, shared by reference.
#[derive(Debug)]
pub struct Metrics {
    /// Records accepted into logs that this node leads.
    pub records_in: Counter,
    /// Bytes of record batches accepted into logs that this node leads.
    pub bytes_in: Counter,
    /// Record batches accepted into logs that this node leads.
    pub batches_in: Counter,
    /// Bytes of record batches sent to consumers.
    pub bytes_out: Counter,
    /// What compaction does.
    pub compaction: CompactionMetrics,
    segments_deleted: Counter,
    bytes_deleted: Counter,
    connections: Gauge,
    connections_accepted: Counter,
    connections_refused: Counter,
    accept_errors: Counter,
    request_bytes_inflight: Gauge,
    /// Requests and their latency by API.
    pub requests: RequestMetrics,
    replication: ReplicationMetrics,
    registry: Registry,
    scraped: Mutex<Scraped>,
}

/// What is looked up when the metrics are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// The replicas on this node.
    pub replicas: Vec<ReplicaSample>,
    /// How many of them are out, damaged or being refilled.
    pub quarantined: usize,
    /// The Kafka listener.
    pub sockets: SocketSample,
    /// The data folder's volume.
    pub disk: DiskSample,
    /// This node's groups.
    pub replication: ReplicationSample,
}

/// Where the Kafka listener stands; read when the metrics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketSample {
    /// Client connections open now.
    pub connections: u64,
    /// Client connections accepted since the start.
    pub accepted: u64,
    /// Connections closed because of what they sent, or because there were too many.
    pub refused: u64,
    /// Attempts to accept one that failed.
    pub accept_errors: u64,
    /// Bytes of requests being read or worked on.
    pub request_bytes: u64,
}

/// How full the data folder's volume is; read when the metrics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSample {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes that records from producers leave free.
    pub reserve_bytes: u64,
    /// Whether records from producers are refused.
    pub is_full: bool,
}

/// Where a partition's replica on this node stands; read when the metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSample {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// Whether this node leads it.
    pub is_leader: bool,
    /// Raft term.
    pub term: u64,
    /// First offset there.
    pub log_start_offset: i64,
    /// Offset after the last record there.
    pub log_end_offset: i64,
    /// Offset after the last committed record known here.
    pub high_watermark: i64,
    /// Records that are not on this disk yet, of a topic that does not wait for it.
    pub unsynced_records: Option<u64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: i32,
}

/// Gauges set from samples at every reading.
#[derive(Debug, Default)]
struct Scraped {
    partitions: Gauge,
    leaders: Gauge,
    quarantined: Gauge,
    term: Family<PartitionLabels, Gauge>,
    high_watermark: Family<PartitionLabels, Gauge>,
    log_start_offset: Family<PartitionLabels, Gauge>,
    log_end_offset: Family<PartitionLabels, Gauge>,
    relaxed: Gauge,
    unsynced_records: Gauge,
    disk_free: Gauge,
    disk_reserve: Gauge,
    disk_full: Gauge,
}

impl Scraped {
    fn register(&self, registry: &mut Registry) {
        registry.register("partitions", "Partition replicas on this node", self.partitions.clone());
        registry.register("partition_leaders", "Partitions led by this node", self.leaders.clone());
        let help = "Replicas on this node that are out, damaged or being refilled";
        registry.register("quarantined_replicas", help, self.quarantined.clone());
        let help = "Partition replicas on this node whose records count before they are on disk";
        registry.register("relaxed_partitions", help, self.relaxed.clone());
        let help = "Records of those partitions that are not on this node's disk yet";
        registry.register("relaxed_unsynced_records", help, self.unsynced_records.clone());
        let help = "Free on the volume of the data folder";
        registry.register_with_unit("disk_free", help, Unit::Bytes, self.disk_free.clone());
        let help = "What records from producers leave free";
        registry.register_with_unit("disk_reserve", help, Unit::Bytes, self.disk_reserve.clone());
        let help = "1 while records from producers are refused for want of space";
        registry.register("disk_full", help, self.disk_full.clone());
        for (name, help, family) in [
            ("partition_term", "Raft term of a partition", &self.term),
            (
                "partition_high_watermark",
                "Offset after the last committed record known to this node",
                &self.high_watermark,
            ),
            ("partition_log_start_offset", "First offset on this node", &self.log_start_offset),
            (
                "partition_log_end_offset",
                "Offset after the last record on this node",
                &self.log_end_offset,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
    }

    fn set_disk(&self, disk: DiskSample) {
        self.disk_free.set(i64::try_from(disk.free_bytes).unwrap_or(i64::MAX));
        self.disk_reserve.set(i64::try_from(disk.reserve_bytes).unwrap_or(i64::MAX));
        self.disk_full.set(i64::from(disk.is_full));
    }

    fn set(&self, replicas: &[ReplicaSample]) {
        let families =
            [&self.term, &self.high_watermark, &self.log_start_offset, &self.log_end_offset];
        families.iter().for_each(|family| family.clear());
        let unsynced = replicas.iter().filter_map(|replica| replica.unsynced_records);
        self.relaxed.set(i64::try_from(unsynced.clone().count()).unwrap_or(i64::MAX));
        self.unsynced_records.set(i64::try_from(unsynced.sum::<u64>()).unwrap_or(i64::MAX));
        let mut leaders = 0;
        for replica in replicas {
            leaders += i64::from(replica.is_leader);
            let labels =
                PartitionLabels { topic: replica.topic.clone(), partition: replica.partition };
            let values = [
                i64::try_from(replica.term).unwrap_or(i64::MAX),
                replica.high_watermark,
                replica.log_start_offset,
                replica.log_end_offset,
            ];
            for (family, value) in families.iter().zip(values) {
                family.get_or_create(&labels).set(value);
            }
        }
        self.partitions.set(i64::try_from(replicas.len()).unwrap_or(i64::MAX));
        self.leaders.set(leaders);
    }
}

impl Metrics {
    /// Metrics at zero, for the node with this id.
    #[must_use]
    pub fn new(node_id: i32) -> Self {
        let mut registry = Registry::with_prefix("jackdaw");
        let build = vec![
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("node".to_owned(), node_id.to_string()),
        ];
        registry.register("build", "Version and node id", Info::new(build));
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let records_in = counter("records_in", "Records accepted by this node as leader");
        let batches_in = counter("batches_in", "Record batches accepted by this node as leader");
        let connections_accepted = counter("connections_accepted", "Client connections accepted");
        let connections_refused =
            counter("connections_refused", "Connections closed for what they sent");
        let accept_errors =
            counter("accept_errors", "Client connections that could not be accepted");
        let segments_deleted =
            counter("segments_deleted", "Segments deleted because their entries were purged");
        let (bytes_in, bytes_out) = (Counter::default(), Counter::default());
        let help = "Record batches accepted by this node as leader";
        registry.register_with_unit("in", help, Unit::Bytes, bytes_in.clone());
        let bytes_deleted = Counter::default();
        let help = "Segments deleted because their entries were purged";
        registry.register_with_unit("deleted", help, Unit::Bytes, bytes_deleted.clone());
        let help = "Record batches sent to consumers";
        registry.register_with_unit("out", help, Unit::Bytes, bytes_out.clone());
        let (connections, request_bytes_inflight) = (Gauge::default(), Gauge::default());
        registry.register("connections", "Client connections open", connections.clone());
        let help = "Requests being read or worked on";
        registry.register_with_unit(
            "requests_inflight",
            help,
            Unit::Bytes,
            request_bytes_inflight.clone(),
        );
        let requests = RequestMetrics::register(&mut registry);
        let compaction = CompactionMetrics::register(&mut registry);
        let replication = ReplicationMetrics::register(&mut registry);
        let scraped = Scraped::default();
        scraped.register(&mut registry);
        Self {
            records_in,
            bytes_in,
            batches_in,
            bytes_out,
            compaction,
            segments_deleted,
            bytes_deleted,
            connections,
            connections_accepted,
            connections_refused,
            accept_errors,
            request_bytes_inflight,
            requests,
            replication,
            registry,
            scraped: Mutex::new(scraped),
        }
    }

    /// The text that Prometheus reads (OpenMetrics 1.0), with what is looked up for it as of now.
    #[must_use]
    pub fn render(&self, readings: &Readings) -> String {
        // One reading at a time: the per-partition gauges are cleared and set again.
        let scraped = self.scraped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        scraped.set(&readings.replicas);
        scraped.quarantined.set(i64::try_from(readings.quarantined).unwrap_or(i64::MAX));
        self.set_sockets(readings.sockets);
        scraped.set_disk(readings.disk);
        self.replication.set(&readings.replication);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing into a String cannot fail; a comment keeps the text well-formed if it does.
            let _ = writeln!(text, "# EOF");
        }
        text
    }

    /// Sets what retention has deleted on this node since its start.
    pub fn set_purged(&self, segments: u64, bytes: u64) {
        // The storage counts; what is shown only ever grows, as its counters do.
        self.segments_deleted.inner().store(segments, Ordering::Relaxed);
        self.bytes_deleted.inner().store(bytes, Ordering::Relaxed);
    }

    fn set_sockets(&self, sockets: SocketSample) {
        let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.connections.set(signed(sockets.connections));
        self.request_bytes_inflight.set(signed(sockets.request_bytes));
        // The server counts; what is shown only ever grows, as its counters do.
        self.connections_accepted.inner().store(sockets.accepted, Ordering::Relaxed);
        self.connections_refused.inner().store(sockets.refused, Ordering::Relaxed);
        self.accept_errors.inner().store(sockets.accept_errors, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sockets() -> SocketSample {
        SocketSample {
            connections: 1,
            accepted: 4,
            refused: 2,
            accept_errors: 3,
            request_bytes: 100,
        }
    }

    fn peer(peer: u64, alive: bool) -> PeerSample {
        PeerSample { peer, alive, round_trip: Some(Duration::from_micros(1_500)) }
    }

    #[test]
    fn the_text_holds_what_was_counted() {
        let metrics = Metrics::new(3);
        metrics.records_in.inc_by(5);
        metrics.bytes_in.inc_by(500);
        metrics.set_purged(2, 700);
        metrics.compaction.done(9, (1_000, 400), Duration::from_millis(1_500));
        metrics.compaction.waiting(77, 2);
        metrics.requests.observe(0, Duration::from_micros(700), false);
        metrics.requests.observe(1, Duration::from_millis(20), true);
        let replica = ReplicaSample {
            topic: "orders".into(),
            partition: 2,
            is_leader: true,
            term: 4,
            log_start_offset: 0,
            log_end_offset: 12,
            high_watermark: 11,
            unsynced_records: Some(6),
        };
        let disk = DiskSample { free_bytes: 9, reserve_bytes: 10, is_full: true };
        let replication = ReplicationSample {
            groups: 4,
            groups_led: 2,
            elections_won: 3,
            transfers_made: 1,
            peers: vec![peer(1, true), peer(2, false)],
            catch_up_bytes: 5_000,
            lag_max: 1_200,
            leaderless: 6,
            under_replicated: 5,
            ..ReplicationSample::default()
        };
        let text = metrics.render(&Readings {
            replicas: vec![replica],
            quarantined: 3,
            sockets: sockets(),
            disk,
            replication,
        });
        for line in [
            "jackdaw_records_in_total 5",
            "jackdaw_in_bytes_total 500",
            "jackdaw_segments_deleted_total 2",
            "jackdaw_deleted_bytes_total 700",
            "jackdaw_disk_free_bytes 9",
            "jackdaw_disk_full 1",
            "jackdaw_quarantined_replicas 3",
            "jackdaw_compacted_records_dropped_total 9",
            "jackdaw_compacted_read_bytes_total 1000",
            "jackdaw_compacted_written_bytes_total 400",
            "jackdaw_compaction_seconds_total 1.5",
            "jackdaw_compaction_dirty_max_bytes 77",
            "jackdaw_uncompactable_logs 2",
            "jackdaw_relaxed_partitions 1",
            "jackdaw_relaxed_unsynced_records 6",
            "jackdaw_raft_groups 4",
            "jackdaw_raft_groups_led 2",
            "jackdaw_elections_won_total 3",
            "jackdaw_leadership_transfers_total 1",
            "jackdaw_leadership_transfers_failed_total 0",
            "jackdaw_catch_up_bytes_total 5000",
            "jackdaw_peer_alive{peer=\"2\"} 0",
            "jackdaw_peer_round_trip_seconds{peer=\"1\"} 0.0015",
            "jackdaw_replication_lag_max_entries 1200",
            "jackdaw_leaderless_partitions 6",
            "jackdaw_under_replicated_partitions 5",
            "jackdaw_connections 1",
            "jackdaw_connections_accepted_total 4",
            "jackdaw_accept_errors_total 3",
            "jackdaw_partition_leaders 1",
            "jackdaw_partition_high_watermark{topic=\"orders\",partition=\"2\"} 11",
            "jackdaw_requests_total{api=\"Produce\"} 1",
            "jackdaw_request_errors_total{api=\"Fetch\"} 1",
            "jackdaw_request_duration_seconds_count{api=\"Fetch\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert!(text.contains("node=\"3\"") && text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_partition_that_left_is_no_longer_shown() {
        let metrics = Metrics::new(1);
        let replica = ReplicaSample {
            topic: "gone".into(),
            partition: 0,
            is_leader: false,
            unsynced_records: None,
            term: 1,
            log_start_offset: 0,
            log_end_offset: 0,
            high_watermark: 0,
        };
        let before = Readings { replicas: vec![replica], ..Readings::default() };
        assert!(metrics.render(&before).contains("gone"));
        assert!(!metrics.render(&Readings::default()).contains("gone"));
    }

    #[test]
    fn a_peer_that_fell_silent_has_no_round_trip() {
        let metrics = Metrics::new(1);
        let heard = |alive| {
            let peers = vec![peer(2, alive)];
            let replication = ReplicationSample { peers, ..ReplicationSample::default() };
            metrics.render(&Readings { replication, ..Readings::default() })
        };
        let round_trip = "jackdaw_peer_round_trip_seconds{peer=\"2\"}";
        assert!(heard(true).contains(round_trip));
        let text = heard(false);
        assert!(!text.contains(round_trip) && text.contains("jackdaw_peer_alive{peer=\"2\"} 0"));
    }

    #[test]
    fn an_unknown_api_is_counted_as_other() {
        let metrics = Metrics::new(1);
        metrics.requests.observe(-7, Duration::ZERO, false);
        metrics.requests.observe(9_999, Duration::ZERO, false);
        let text = metrics.render(&Readings::default());
        assert!(text.contains("jackdaw_requests_total{api=\"other\"} 2"));
    }
}
