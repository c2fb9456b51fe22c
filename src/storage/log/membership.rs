//! The newest membership at or below an index: what a restarted replica is a member of.
//!
//! Frames are rare (leader changes, memberships, void entries), and the index counts them, so the
//! search goes backward from frame to frame and touches no batch in between.

use super::Log;
use super::view::Part;
use crate::storage::frame::{FrameKind, Item};
use crate::storage::locks::read;
use crate::storage::{LogEntry, LogError};

impl Log {
    /// The newest entry with an [`EntryBody::Membership`] whose index is at most `upto`, among those
    /// that were not purged.
    ///
    /// # Errors
    /// Of the file system, or damage.
    ///
    /// [`EntryBody::Membership`]: crate::storage::EntryBody::Membership
    pub fn last_membership(&self, upto: u64) -> Result<Option<LogEntry>, LogError> {
        let (parts, first) = {
            let view = read(&self.0.view);
            (view.parts_from(0)?, view.first_index())
        };
        for part in parts.iter().rev().filter(|part| part.segment.head.first_index <= upto) {
            if let Some(index) = self.membership_in(part, upto)? {
                if index < first {
                    // Purged, though its segment is still there.
                    return Ok(None);
                }
                return Ok(self.read_entries(index..index + 1, 0)?.pop());
            }
        }
        Ok(None)
    }

    fn membership_in(&self, part: &Part, upto: u64) -> Result<Option<u64>, LogError> {
        let (mut walker, mut frames) =
            part.segment.walk_from(&part.end, &self.0.options, |index| index.last())?;
        while let Some(located) = part.next(&mut walker)? {
            frames += u32::from(matches!(located.item, Item::Frame(_)));
        }
        for wanted in (0..frames).rev() {
            let before = |index: &crate::storage::index::Index| {
                index.last_where(|entry| entry.frames_before <= wanted)
            };
            let (mut walker, mut passed) =
                part.segment.walk_from(&part.end, &self.0.options, before)?;
            while let Some(located) = part.next(&mut walker)? {
                let Item::Frame(header) = located.item else { continue };
                if passed == wanted {
                    if header.kind == FrameKind::Membership && header.index <= upto {
                        return Ok(Some(header.index));
                    }
                    break;
                }
                passed += 1;
            }
        }
        Ok(None)
    }
}
