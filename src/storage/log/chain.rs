//! Which of a folder's segments continue one another.
//!
//! Each head names the segment before. What follows none of the others can be there for two reasons: a
//! segment is missing or damaged, which is an error; or the machine stopped before the closed segments
//! and their successors were on the disk, which come there in any order. The recovery point tells: no
//! segment behind the one that it lies in was ever durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::Offset;
use crate::storage::LogError;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::epochs::Epochs;
use crate::storage::open_files::OpenFiles;
use crate::storage::retained::Retained;
use crate::storage::segment::{self, Segment};
use crate::storage::segment_head::{self, StoredHead};

use super::open::{lost, segment_paths};

/// The segments of a folder.
#[derive(Default)]
pub(in crate::storage) struct Chain {
    /// Oldest first; each follows the one before.
    pub(in crate::storage) segments: Vec<Arc<Segment>>,
    /// The others, in no order: a segment, or what is wrong with its head.
    pub(in crate::storage) rest: Vec<(PathBuf, Result<Segment, String>)>,
}

impl Chain {
    /// Reads the heads in `dir`, where everything before the segment of `checkpoint` is whole.
    pub(in crate::storage) fn load(
        dir: &Path,
        retained: Option<&Retained>,
        checkpoint: Option<&Checkpoint>,
        open_files: &Arc<OpenFiles>,
    ) -> Result<Self, LogError> {
        let (mut sound, mut chain) = (Vec::new(), Self::default());
        for path in segment_paths(dir)? {
            let stored = open_files.open(|| StoredHead::read(&path));
            match stored.map_err(LogError::io("read", &path))? {
                Ok(stored) => sound.push((path, stored)),
                Err(what) => chain.rest.push((path, Err(what))),
            }
        }
        sound.sort_by_key(|(_, stored)| stored.head.first_index);
        let point = checkpoint.map_or(0, |point| point.segment);
        let sealed = sound.partition_point(|(_, stored)| stored.head.first_index <= point);
        let sealed = sealed.saturating_sub(1);
        let first_wanted = retained.map_or(0, |r| r.purged.index + 1);
        for (at, (path, stored)) in sound.into_iter().enumerate() {
            let StoredHead { mut head, head_bytes, file_bytes } = stored;
            if at < sealed {
                // Only those are asked for of segments that are gone through.
                head.epochs = Epochs::default();
            }
            let segment = Segment::with_head(path, head, head_bytes, open_files);
            segment.set_sealed_len((at < sealed).then_some(file_bytes));
            let head = &segment.head;
            let before = chain.segments.last().map(|before| before.head.first_index);
            // What was purged goes in any order.
            let continues = head.first_index <= first_wanted
                || before.is_some() && head.previous_first_index == before;
            if continues {
                chain.segments.push(Arc::new(segment));
            } else {
                chain.rest.push((segment.path.clone(), Ok(segment)));
            }
        }
        Ok(chain)
    }

    /// Whether what does not belong to the chain may be removed; else what is missing.
    pub(in crate::storage) fn check_rest(
        &self,
        dir: &Path,
        checkpoint: &Option<Checkpoint>,
        retained: Option<&Retained>,
        durable_hint: Option<u64>,
    ) -> Result<(), LogError> {
        for pair in self.segments.windows(2) {
            let (before, after) = (&pair[0].head, &pair[1].head);
            let continues = after.base_offset >= before.base_offset
                && after.first_index > before.first_index
                && after.term_before >= before.term_before;
            if !continues {
                let what = format!("the segment does not follow {}", pair[0].path.display());
                return Err(pair[1].corrupt(0, what));
            }
        }
        let last = self.segments.last().map(|segment| &segment.head);
        let in_doubt = match (last, checkpoint) {
            (Some(last), Some(point)) => last.first_index >= point.segment,
            (Some(_), None) => true,
            (None, point) => point.is_none() && durable_hint.is_none() && retained.is_none(),
        };
        let begin = last.map_or(Offset::ZERO, |last| last.base_offset);
        for (path, segment) in &self.rest {
            let Err(what) = segment else { continue };
            // Names are on the disk as a whole or not at all. A log's very first segment has a small
            // head, which is there or is not.
            let is_later = segment::named_offset(path).is_some_and(|offset| offset >= begin);
            let is_first = last.is_none() && segment::named_offset(path) == Some(Offset::ZERO);
            let may_be_so =
                !is_first || segment_head::is_blank(path).map_err(LogError::io("read", path))?;
            if !in_doubt || !is_later || !may_be_so {
                let (path, what) = (path.clone(), what.clone());
                return Err(LogError::Corrupt { path, position: 0, what });
            }
        }
        let mut others = self.rest.iter().filter_map(|(_, segment)| segment.as_ref().ok());
        match others.next() {
            Some(Segment { head, .. }) if !in_doubt => {
                let wanted = retained.map_or(0, |r| r.purged.index + 1);
                let missing = match last {
                    None => wanted,
                    Some(last) => head.previous_first_index.unwrap_or(last.first_index),
                };
                Err(lost(dir, missing, head.first_index - 1))
            }
            _ => Ok(()),
        }
    }
}
