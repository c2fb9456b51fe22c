//! Compaction of one replica's log: what it may go over, and by which limits.
//!
//! **Invariant:** every replica compacts for itself, and only what it has applied: what is committed.

use std::sync::PoisonError;

use super::replica::Partition;
use crate::model::Timestamp;
use crate::storage::{Compacted, Compaction, CompactionLimits, Dirt, LogError};

impl Partition {
    /// How the log is compacted; `None` where it is not (`cleanup.policy` without `compact`).
    #[must_use]
    pub fn compaction(&self) -> Option<CompactionLimits> {
        *self.compaction.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes new limits over after the topic's configs changed.
    pub fn set_compaction(&self, limits: Option<CompactionLimits>) {
        *self.compaction.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// What waits to be compacted; `None` if nothing does. May read from the disk.
    ///
    /// # Errors
    /// As [`Log::dirt`].
    ///
    /// [`Log::dirt`]: crate::storage::Log::dirt
    pub fn dirt(&self, now: Timestamp) -> Result<Option<Dirt>, LogError> {
        let Some(limits) = self.compaction() else { return Ok(None) };
        self.damage.check(self.log().dirt(&limits, now, self.machine.committed()))
    }

    /// Compacts the log. Blocks; see [`Log::compact`].
    ///
    /// # Errors
    /// As [`Log::compact`].
    ///
    /// [`Log::compact`]: crate::storage::Log::compact
    pub fn compact(
        &self,
        now: Timestamp,
        map_bytes_max: usize,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Compacted, LogError> {
        let Some(limits) = self.compaction() else { return Ok(Compacted::default()) };
        let committed = self.machine.committed();
        let mut compaction = Compaction { limits, now, committed, map_bytes_max, pace };
        self.damage.check(self.log().compact(&mut compaction))
    }
}
