//! What a topic's configs allow to be produced, and what they make of it.

use crate::model::compression::Codec;

/// A topic's rules for produced batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Largest batch, in bytes (`max.message.bytes`).
    pub message_bytes_max: usize,
    /// Largest segment, in bytes (`segment.bytes`).
    pub segment_bytes_max: usize,
    /// Oldest timestamp, in ms before now (`message.timestamp.before.max.ms`).
    pub timestamp_before_max_ms: i64,
    /// Newest timestamp, in ms after now (`message.timestamp.after.max.ms`).
    pub timestamp_after_max_ms: i64,
    /// Batches carry the time of their append (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: bool,
    /// Every record needs a key (`cleanup.policy` contains `compact`).
    pub compacted: bool,
    /// The codec that batches are stored in (`compression.type`); `None`: their producer's.
    pub codec: Option<Codec>,
}
