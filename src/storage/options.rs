//! Sizes of a log.
//!
//! **Invariant:** no option changes what is on disk in a way that an older folder could not be
//! opened with it.

/// Sizes by which a log lays out its files, all in bytes.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment that holds an entry is closed before it would exceed this (`segment.bytes`).
    pub segment_bytes: u64,
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
            segment_bytes: 1 << 30,
            index_interval_bytes: 4096,
            preallocate_min_bytes: 64 << 10,
            preallocate_max_bytes: 8 << 20,
            recheck_bytes: 1 << 20,
        }
    }
}
