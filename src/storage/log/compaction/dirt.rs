//! Which segments may be compacted, and how much of them is dirty (Kafka's `LogToClean`).
//!
//! **Invariant:** nothing reaches above what is committed, and the active segment is left alone.
//! **Invariant:** works from figures in memory, but for segments that this process has not looked at yet
//! and for the first batches of dirty ones where a longest lag is set.

use crate::model::{Offset, Timestamp};
use crate::storage::LogError;
use crate::storage::locks::read;

use super::super::view::Part;
use super::super::{Committed, Log};
use super::{CompactionLimits, Dirt};

/// What a compaction would go over.
pub(super) struct Scope {
    /// Oldest first, clean ones and then at least one dirty.
    pub(super) parts: Vec<Part>,
    pub(super) first_dirty: Offset,
}

impl Scope {
    pub(super) fn dirty(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.end.next_offset > self.first_dirty)
    }

    /// Offsets that the dirty segments have: at least as many as they have keys.
    pub(super) fn dirty_offsets(&self) -> u64 {
        let end = self.parts.last().map_or(self.first_dirty, |part| part.end.next_offset);
        u64::try_from(end.0 - self.first_dirty.0).unwrap_or(0)
    }
}

impl Log {
    /// How dirty the log is; `None` where nothing may be compacted now.
    ///
    /// # Errors
    /// [`LogError::Corrupt`]; [`LogError::Io`].
    pub fn dirt(
        &self,
        limits: &CompactionLimits,
        now: Timestamp,
        committed: Committed,
    ) -> Result<Option<Dirt>, LogError> {
        let Some(scope) = self.scope(limits, now, committed)? else { return Ok(None) };
        let bytes: u64 = scope.parts.iter().map(|part| part.end.position).sum();
        let dirty_bytes = scope.dirty().map(|part| part.end.position).sum();
        let mut is_overdue = false;
        if limits.lag_max_ms != u64::MAX {
            let oldest = now.0.saturating_sub_unsigned(limits.lag_max_ms);
            for part in scope.dirty() {
                let first = part.first_timestamp()?;
                is_overdue |= first > Timestamp::NONE && first.0 < oldest;
            }
        }
        Ok(Some(Dirt { clean_bytes: bytes - dirty_bytes, dirty_bytes, is_overdue }))
    }

    pub(super) fn scope(
        &self,
        limits: &CompactionLimits,
        now: Timestamp,
        committed: Committed,
    ) -> Result<Option<Scope>, LogError> {
        let marked = self.0.clean_mark.get();
        let (mut parts, base, first_dirty) = {
            let view = read(&self.0.view);
            let sealed_end = view.active().head.base_offset;
            // A mark behind the end speaks of another log.
            let marked = if marked > view.end.next_offset { Offset::ZERO } else { marked };
            if view.segments.len() < 2 || sealed_end <= marked {
                return Ok(None);
            }
            (view.parts_from(0)?, view.base_offset(), marked)
        };
        let youngest = now.0.saturating_sub_unsigned(limits.lag_min_ms);
        let mut count = 0;
        for part in &parts {
            let end = &part.end;
            let whole = end.next_index <= committed.next_index
                && end.next_offset <= committed.high_watermark;
            if part.active || !whole {
                break;
            }
            let dirty = end.next_offset > first_dirty;
            if dirty && limits.lag_min_ms > 0 && self.largest_timestamp(part)?.0 > youngest {
                break;
            }
            count += 1;
        }
        parts.truncate(count);
        let scope = Scope { parts, first_dirty: first_dirty.max(base) };
        let has_dirt = scope.dirty().next().is_some();
        Ok(has_dirt.then_some(scope))
    }
}
