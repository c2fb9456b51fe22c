//! What compaction has done on this node, and what it cannot do.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Counters of compaction.
#[derive(Debug, Default)]
pub struct CompactionMetrics {
    records_dropped: Counter,
    bytes_read: Counter,
    bytes_written: Counter,
    seconds: Counter<f64, AtomicU64>,
    dirty_bytes_max: Gauge,
    uncompactable: Gauge,
}

impl CompactionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        let help = "Records that compaction left out because newer ones have their keys";
        registry.register("compacted_records_dropped", help, new.records_dropped.clone());
        let help = "Segments that compaction has replaced, as they were";
        registry.register_with_unit("compacted_read", help, Unit::Bytes, new.bytes_read.clone());
        let help = "Segments that compaction has replaced, as they are now";
        let written = new.bytes_written.clone();
        registry.register_with_unit("compacted_written", help, Unit::Bytes, written);
        let help = "Time spent on compaction";
        registry.register_with_unit("compaction", help, Unit::Seconds, new.seconds.clone());
        let help = "Bytes that wait to be compacted, of the log with the most";
        let dirty = new.dirty_bytes_max.clone();
        registry.register_with_unit("compaction_dirty_max", help, Unit::Bytes, dirty);
        let help = "Logs that cannot be compacted; the node's log says why";
        registry.register("uncompactable_logs", help, new.uncompactable.clone());
        new
    }

    /// Counts a compaction: records left out, bytes of replaced segments before and after, its time.
    pub fn done(&self, records_dropped: u64, bytes: (u64, u64), took: Duration) {
        self.records_dropped.inc_by(records_dropped);
        self.bytes_read.inc_by(bytes.0);
        self.bytes_written.inc_by(bytes.1);
        self.seconds.inc_by(took.as_secs_f64());
    }

    /// Sets how much waits in the log with the most, and how many logs wait for good.
    pub fn waiting(&self, dirty_bytes_max: u64, uncompactable: usize) {
        self.dirty_bytes_max.set(i64::try_from(dirty_bytes_max).unwrap_or(i64::MAX));
        self.uncompactable.set(i64::try_from(uncompactable).unwrap_or(i64::MAX));
    }
}
