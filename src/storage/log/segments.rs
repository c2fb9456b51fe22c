//! A log's segments, and where each begins.
//!
//! **Invariant:** the beginnings lie side by side: a search among ten thousand segments touches none of
//! them but the one that it finds.

use std::ops::Deref;
use std::sync::Arc;

use crate::model::Offset;
use crate::storage::segment::Segment;

use super::search::count_upto;

/// Oldest first.
#[derive(Default)]
pub(super) struct Segments {
    all: Vec<Arc<Segment>>,
    first_indexes: Vec<u64>,
    base_offsets: Vec<Offset>,
}

impl Segments {
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.first_indexes.push(segment.head.first_index);
        self.base_offsets.push(segment.head.base_offset);
        self.all.push(segment);
    }

    /// Takes off those from the one at `at` on.
    pub(super) fn split_off(&mut self, at: usize) -> Vec<Arc<Segment>> {
        self.first_indexes.truncate(at);
        self.base_offsets.truncate(at);
        self.all.split_off(at)
    }

    /// Takes off the oldest `count`.
    pub(super) fn drop_first(&mut self, count: usize) -> Vec<Arc<Segment>> {
        self.first_indexes.drain(..count);
        self.base_offsets.drain(..count);
        self.all.drain(..count).collect()
    }

    /// Puts another in place of the one at `at`, which begins where that one does.
    pub(super) fn replace(&mut self, at: usize, segment: Segment) {
        let head = &segment.head;
        assert_eq!(self.first_indexes[at], head.first_index, "another segment");
        assert_eq!(self.base_offsets[at], head.base_offset, "another segment");
        self.all[at] = Arc::new(segment);
    }

    /// Where the segment at `at` begins.
    pub(super) fn begin(&self, at: usize) -> Option<(u64, Offset)> {
        Some((*self.first_indexes.get(at)?, self.base_offsets[at]))
    }

    /// How many begin at or before the entry at `index`.
    pub(super) fn count_upto_index(&self, index: u64) -> usize {
        count_upto(&self.first_indexes, index, |index| index as f64)
    }

    /// How many begin at or before `offset`.
    pub(super) fn count_upto_offset(&self, offset: Offset) -> usize {
        count_upto(&self.base_offsets, offset, |offset| offset.0 as f64)
    }
}

impl Deref for Segments {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &[Arc<Segment>] {
        &self.all
    }
}

impl From<Vec<Arc<Segment>>> for Segments {
    fn from(all: Vec<Arc<Segment>>) -> Self {
        let mut segments = Self::default();
        all.into_iter().for_each(|segment| segments.push(segment));
        segments
    }
}
