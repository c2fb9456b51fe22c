//! Puts a compacted segment in place of the old one.
//!
//! ```text
//! old file and index held open ─► old index deleted, folder synced ─► new segment renamed over the old
//!   ─► new index renamed ─► view ─► folder synced
//! ```
//! A crash leaves the old segment or the new one, with its own index or with none, and perhaps a
//! temporary file; opening the log removes that, and an index is made again at first use.
//!
//! **Invariant:** no index is ever found beside a segment that it was not made for.
//! **Invariant:** who reads the old segment goes on reading it.

use crate::storage::locks::{lock, read, write};
use crate::storage::segment::{End, Segment};
use crate::storage::{Disk, LogError};

use super::super::view::Part;
use super::super::{Log, Watched};
use super::rewrite::Cleaned;

impl Log {
    /// False where the old segment is not there any more, or the log was closed.
    pub(super) fn swap(&self, old: &Part, cleaned: Cleaned) -> Result<bool, LogError> {
        let inner = &*self.0;
        let disk: &dyn Disk = &Watched(inner);
        let refused = |error| inner.refused("replace a segment in", error);
        old.segment.hold(&old.end, &inner.options)?;
        {
            // Neither purged nor emptied nor closed from here on.
            let writer = lock(&inner.writer);
            inner.check_usable()?;
            let place = {
                let view = read(&inner.view);
                let sealed = &view.segments[..view.segments.len() - 1];
                sealed.iter().position(|segment| old.is(segment))
            };
            let Some(at) = place.filter(|_| !writer.closed) else { return Ok(false) };
            disk.remove_if_there(old.segment.index().path()).map_err(refused)?;
            disk.sync_dir(&inner.dir).map_err(refused)?;
            disk.rename(&cleaned.log, &old.segment.path).map_err(refused)?;
            if let Err(error) = disk.rename(&cleaned.index, old.segment.index().path()) {
                tracing::warn!(%error, path = %old.segment.path.display(), "its index comes later");
            }
            let segment = self.successor(old, cleaned.bytes);
            let mut view = write(&inner.view);
            view.sealed_bytes = view.sealed_bytes - old.end.position + cleaned.bytes;
            view.segments.replace(at, segment);
        }
        disk.sync_dir(&inner.dir).map_err(refused)?;
        Ok(true)
    }

    /// The segment that now has the old one's name. What cannot be opened yet will be at first use.
    fn successor(&self, old: &Part, bytes: u64) -> Segment {
        let Segment { path, head, head_bytes, .. } = &*old.segment;
        let open_files = &self.0.storage.open_files;
        let segment = Segment::with_head(path.clone(), head.clone(), *head_bytes, open_files);
        segment.set_sealed_len(Some(bytes));
        let end = End { position: bytes, ..old.end };
        if let Err(error) = segment.open(&end, &self.0.options) {
            tracing::warn!(%error, "a compacted segment is opened later");
        }
        segment
    }
}
