//! Where answers from a segment ended lately: a consumer goes on there, and its next answer is found
//! without a look at the log.
//!
//! **Invariant:** a place lies between two items that are there.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::locks::lock;
use super::walker::Cursor;
use crate::model::Offset;

/// Places kept per segment: as many consumers may read the same one at different places.
const COUNT_MAX: usize = 16;

/// Where the next item begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) cursor: Cursor,
    /// `J` frames between the segment's head and it.
    pub(super) frames_before: u32,
}

/// The latest places.
#[derive(Default)]
pub(super) struct SliceEnds(Mutex<VecDeque<Place>>);

impl SliceEnds {
    /// Notes where an answer ended.
    pub(super) fn note(&self, place: Place) {
        let mut places = lock(&self.0);
        if places.contains(&place) {
            return;
        }
        if places.len() == COUNT_MAX {
            places.pop_front();
        }
        places.push_back(place);
    }

    /// The segment is cut at `position`.
    pub(super) fn forget_behind(&self, position: u64) {
        lock(&self.0).retain(|place| place.position <= position);
    }

    /// Where the record at `offset` comes, if an answer ended before it.
    pub(super) fn at(&self, offset: Offset) -> Option<Place> {
        lock(&self.0).iter().rev().find(|place| place.cursor.next_offset == offset).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> Place {
        let cursor = Cursor { next_index: 1, next_offset: Offset(offset), term: Some(1) };
        Place { position: offset as u64 * 100, cursor, frames_before: 0 }
    }

    #[test]
    fn knows_the_latest_places() {
        let ends = SliceEnds::default();
        for offset in 0..=COUNT_MAX as i64 {
            ends.note(place(offset));
            ends.note(place(offset));
        }
        assert_eq!(ends.at(Offset(0)), None);
        assert_eq!(ends.at(Offset(1)), Some(place(1)));
        assert_eq!(ends.at(Offset(COUNT_MAX as i64)), Some(place(COUNT_MAX as i64)));
        ends.forget_behind(200);
        assert_eq!((ends.at(Offset(2)), ends.at(Offset(3))), (Some(place(2)), None));
    }
}
