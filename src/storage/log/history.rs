//! Goes over what a log holds, entry by entry, to rebuild what the entries amount to.
//!
//! **Invariant:** goes by index, and so also over records that are deleted but still there.

use std::ops::Range;
use std::sync::Arc;

use crate::model::record_batch::BatchHeader;
use crate::storage::LogError;
use crate::storage::frame::{FrameKind, Item};
use crate::storage::locks::read;
use crate::storage::walker::{Located, Walker};

use super::view::Part;
use super::{Inner, Log};

/// An entry that means something to a state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryItem {
    /// A batch, by its header.
    Batch(BatchHeader),
    /// A command, by its index.
    Command(u64),
}

/// Goes over entries in order; see [`Log::history`]. Ends after an error.
pub struct History {
    log: Arc<Inner>,
    left: Range<u64>,
    walk: Option<(Part, Walker)>,
}

impl Log {
    /// The batches and commands at the indexes of `range`, as far as the log holds it. Reads headers
    /// only.
    #[must_use]
    pub fn history(&self, range: Range<u64>) -> History {
        let view = read(&self.0.view);
        let left = range.start.max(view.first_index())..range.end.min(view.end.next_index);
        History { log: Arc::clone(&self.0), left, walk: None }
    }
}

impl History {
    fn advance(&mut self) -> Result<Option<HistoryItem>, LogError> {
        while self.left.start < self.left.end {
            let Some((part, walker)) = &mut self.walk else {
                self.walk = Some(self.begin()?);
                continue;
            };
            let Some(Located { item, index, .. }) = part.next(walker)? else {
                self.walk = None;
                continue;
            };
            if index < self.left.start {
                continue;
            }
            self.left.start = index + 1;
            match item {
                Item::Batch(header) => return Ok(Some(HistoryItem::Batch(header))),
                Item::Frame(frame) if frame.kind == FrameKind::Command => {
                    return Ok(Some(HistoryItem::Command(index)));
                }
                Item::Frame(_) => {}
            }
        }
        Ok(None)
    }

    /// A walk in the segment that holds the next entry.
    fn begin(&self) -> Result<(Part, Walker), LogError> {
        let next = self.left.start;
        let part = {
            let view = read(&self.log.view);
            let first = view.first_index();
            if next < first || next >= view.end.next_index {
                let last = view.end.next_index.saturating_sub(1);
                return Err(LogError::OutOfRange { index: next, first, last });
            }
            view.part(view.segment_of_index(next))?
        };
        let options = &self.log.options;
        let (walker, _) = part.segment.walk_from(&part.end, options, |i| i.floor_index(next))?;
        Ok((part, walker))
    }
}

impl Iterator for History {
    type Item = Result<HistoryItem, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.left = 0..0;
        }
        result.transpose()
    }
}
