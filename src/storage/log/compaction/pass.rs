//! One compaction of one log: the key map of what is dirty, then every segment below its end.
//!
//! Kafka's `Cleaner.doClean`. Where the map is full before the dirty part ends, the log is compacted as
//! far as the map reaches, and the next compaction goes on from there.
//!
//! **Invariant:** the mark moves only after all segments below it are in place.

use crate::model::Offset;
use crate::model::record_batch::BatchHeader;
use crate::model::records::{DECOMPRESSED_BYTES_MAX, RecordBatch};
use crate::storage::LogError;
use crate::storage::frame::Item;
use crate::storage::locks::lock;
use crate::storage::segment::Segment;

use super::super::view::Part;
use super::super::{Log, Watched};
use super::dirt::Scope;
use super::items::Items;
use super::key_map::KeyMap;
use super::rewrite::{Outcome, Rewriter};
use super::{Compacted, Compaction};

/// What the map knows.
struct Covered {
    map: KeyMap,
    /// Of every batch below, all keys are in the map.
    upto: Offset,
}

impl Log {
    /// Compacts what may be compacted now, as far as the key map reaches. Blocks, and reads and writes
    /// about as much as the log is long; appends and reads go on meanwhile.
    ///
    /// # Errors
    /// [`LogError::Uncompactable`], [`LogError::Corrupt`]: the log stays as it is, and another attempt
    /// would fail like this one. [`LogError::Full`], [`LogError::Io`], [`LogError::Failed`].
    pub fn compact(&self, job: &mut Compaction<'_>) -> Result<Compacted, LogError> {
        let _alone = lock(&self.0.compacting);
        self.0.check_usable()?;
        // A segment is replaced once no recovery point is in it.
        self.0.sync_if(|| true)?;
        let mut done = Compacted { upto: self.0.clean_mark.get(), ..Compacted::default() };
        let scope = self.scope(&job.limits, job.now, job.committed)?;
        let Some(mut scope) = scope else {
            return Ok(Compacted { finished: true, ..done });
        };
        scope.parts.retain(|part| self.0.is_sealed(part.segment.head.first_index));
        let Some(covered) = cover(&scope, job)? else { return Ok(done) };
        let below = scope.parts.iter().filter(|p| p.segment.head.base_offset < covered.upto);
        let rewriter = Rewriter::new(self, &covered.map, covered.upto, job);
        for part in below {
            self.check_room(part)?;
            let cleaned = match rewriter.rewrite(part, job.pace)? {
                Outcome::Same => continue,
                Outcome::Stopped => return Ok(done),
                Outcome::Cleaned(cleaned) => cleaned,
            };
            let (bytes, dropped) = (cleaned.bytes, cleaned.records_dropped);
            if !self.swap(part, cleaned)? {
                return Ok(done);
            }
            done.records_dropped += dropped;
            done.bytes_after += bytes;
            done.bytes_before += part.end.position;
            done.segments += 1;
        }
        // It may have been closed meanwhile, and another be open here.
        let _noting = lock(&self.0.noting);
        self.0.check_usable()?;
        if lock(&self.0.sync).closed {
            return Ok(done);
        }
        self.0
            .clean_mark
            .set(covered.upto, &Watched(&self.0))
            .map_err(|error| self.0.refused("replace the clean mark in", error))?;
        Ok(Compacted { finished: true, upto: covered.upto, ..done })
    }
}

impl Log {
    /// A segment is there twice for a while: that must not take what others need of a full disk.
    fn check_room(&self, part: &Part) -> Result<(), LogError> {
        let space = &self.0.storage.space;
        space.look();
        let needed_bytes = part.end.position + space.reserve_bytes() / 4;
        if space.free_bytes() < needed_bytes {
            return Err(LogError::Full { path: part.segment.path.clone(), needed_bytes });
        }
        Ok(())
    }
}

/// Fills a map with the keys of the dirty batches; `None` when told to stop.
fn cover(scope: &Scope, job: &mut Compaction<'_>) -> Result<Option<Covered>, LogError> {
    let mut map = KeyMap::new(job.map_bytes_max, scope.dirty_offsets());
    let mut upto = scope.first_dirty;
    for part in scope.dirty() {
        let mut items = Items::new(part)?;
        while let Some((located, bytes)) = items.next()? {
            let Item::Batch(header) = located.item else { continue };
            if header.next_offset() <= scope.first_dirty {
                continue;
            }
            let unreadable = |what| uncompactable(&part.segment, located.position, what);
            if !put_keys(&mut map, &header, &bytes).map_err(unreadable)? {
                let full = || unreadable("it has more keys than the key map has room for".into());
                return if upto > scope.first_dirty {
                    Ok(Some(Covered { map, upto }))
                } else {
                    Err(full())
                };
            }
            upto = header.next_offset();
            if !items.goes_on(job.pace) {
                return Ok(None);
            }
        }
        if !items.ends(job.pace) {
            return Ok(None);
        }
        upto = upto.max(part.end.next_offset);
    }
    Ok(Some(Covered { map, upto }))
}

/// Puts a batch's keys into the map; false if it is full. What was put is right even then: the records
/// are there, and are not older than any that the map makes go.
fn put_keys(map: &mut KeyMap, header: &BatchHeader, bytes: &bytes::Bytes) -> Result<bool, String> {
    if header.is_control() || header.record_count == 0 {
        return Ok(true);
    }
    let decode = RecordBatch::decode(bytes, DECOMPRESSED_BYTES_MAX);
    for record in &decode.map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        if let Some(key) = record.key
            && !map.put(key, record.offset)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn uncompactable(segment: &Segment, position: u64, what: String) -> LogError {
    LogError::Uncompactable { path: segment.path.clone(), position, what }
}

impl Part {
    /// Whether it is the very segment `other`.
    pub(super) fn is(&self, other: &std::sync::Arc<Segment>) -> bool {
        std::sync::Arc::ptr_eq(&self.segment, other)
    }
}
