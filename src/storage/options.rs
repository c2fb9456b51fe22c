//! Sizes of a log, and when it begins a new segment.
//!
//! **Invariant:** no option changes what is on disk in a way that an older folder could not be
//! opened with it.

/// When a segment is closed and the next one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollLimits {
    /// A segment that holds an entry is closed before it would exceed this (`segment.bytes`).
    pub bytes: u64,
    /// A segment is closed before a batch that is newer than its first batch by more than this, ms
    /// (`segment.ms`); `u64::MAX`: not by time.
    pub ms: u64,
    /// Up to so much is taken off `ms`, by segment, so that not all logs roll at the same time
    /// (`segment.jitter.ms`).
    pub jitter_ms: u64,
}

impl Default for RollLimits {
    fn default() -> Self {
        Self { bytes: 1 << 30, ms: u64::MAX, jitter_ms: 0 }
    }
}

/// When an appended entry counts: when whoever wrote it may be told that this node has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Once it is on the disk.
    #[default]
    Durable,
    /// A batch: once it is written, so that a process that ends loses nothing and a machine that stops
    /// may. It is put on the disk in the background, soon after one of these is passed.
    Relaxed {
        /// Records that are not on the disk (`flush.messages`); `u64::MAX`: not by their number.
        messages: u64,
        /// Since the first of them was appended, ms (`flush.ms`); `u64::MAX`: not by time.
        ms: u64,
    },
}

/// Sizes by which a log lays out its files, all in bytes.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// When a segment is closed; can be changed later, see [`Log::set_roll_limits`].
    ///
    /// [`Log::set_roll_limits`]: super::Log::set_roll_limits
    pub roll: RollLimits,
    /// When entries count; can be changed later, see [`Log::set_flush_policy`].
    ///
    /// [`Log::set_flush_policy`]: super::Log::set_flush_policy
    pub flush: FlushPolicy,
    /// An index entry at most every so many bytes (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// First and smallest step by which a segment is preallocated. Small: thousands of idle
    /// partitions each take one.
    pub preallocate_min_bytes: u64,
    /// Largest step; steps double with the segment's size.
    pub preallocate_max_bytes: u64,
    /// How far behind the recovery point `open` re-checks the CRCs of what was durable, so that a disk
    /// that lied about its last syncs is found out.
    pub recheck_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            roll: RollLimits::default(),
            flush: FlushPolicy::Durable,
            index_interval_bytes: 4096,
            preallocate_min_bytes: 64 << 10,
            preallocate_max_bytes: 8 << 20,
            recheck_bytes: 1 << 20,
        }
    }
}
