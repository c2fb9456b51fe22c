//! The largest timestamps of the sealed segments, so that a lookup by time goes to one of them at once.
//!
//! They come from the heads: each says how new the segment before it is.
//!
//! **Invariant:** one entry per sealed segment, at least as large as what the segment holds (which may
//! have become less since it was sealed).

use std::ops::Range;
use std::sync::Arc;

use crate::model::Timestamp;
use crate::storage::segment::Segment;

/// Oldest segment first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SealedTimes {
    own: Vec<Timestamp>,
    /// The largest of each and those before it: never goes back, so that it can be searched.
    upto: Vec<Timestamp>,
}

impl SealedTimes {
    pub(super) fn of(segments: &[Arc<Segment>]) -> Self {
        let mut times = Self::default();
        for segment in segments.iter().skip(1) {
            times.push(segment.head.previous_max_timestamp);
        }
        times
    }

    /// A segment was sealed.
    pub(super) fn push(&mut self, largest: Timestamp) {
        self.upto.push(self.upto.last().map_or(largest, |before| largest.max(*before)));
        self.own.push(largest);
    }

    /// Only so many segments are left, and the last of them is not sealed any more.
    pub(super) fn truncate(&mut self, segments: usize) {
        self.own.truncate(segments.saturating_sub(1));
        self.upto.truncate(self.own.len());
    }

    /// The oldest `count` segments are gone.
    pub(super) fn drop_first(&mut self, count: usize) {
        let kept = self.own.split_off(count.min(self.own.len()));
        *self = Self::default();
        kept.into_iter().for_each(|largest| self.push(largest));
    }

    /// The first segment that may hold a batch as new as `timestamp`; that behind the sealed ones if
    /// none of them does.
    pub(super) fn first_reaching(&self, timestamp: Timestamp) -> usize {
        self.upto.partition_point(|largest| *largest < timestamp)
    }

    /// How new the newest of the segments in `range` may be, all of them sealed.
    pub(super) fn largest(&self, range: Range<usize>) -> Timestamp {
        self.own[range].iter().copied().max().unwrap_or(Timestamp::NONE)
    }

    /// The first of the segments in `range` that may be newest, and how new that is.
    pub(super) fn first_largest(&self, range: Range<usize>) -> Option<(usize, Timestamp)> {
        let all = range.clone().zip(self.own[range].iter().copied());
        all.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// The segment at `at` is found to hold nothing newer than `largest`.
    pub(super) fn lower(&mut self, at: usize, largest: Timestamp) {
        if let Some(own) = self.own.get_mut(at) {
            *own = largest.min(*own);
        }
        let changed = self.own.split_off(at.min(self.own.len()));
        self.upto.truncate(self.own.len());
        changed.into_iter().for_each(|largest| self.push(largest));
    }

    /// How new the segment at `at` may be; `None` for the active one.
    pub(super) fn of_segment(&self, at: usize) -> Option<Timestamp> {
        self.own.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(all: &[i64]) -> SealedTimes {
        let mut times = SealedTimes::default();
        all.iter().for_each(|time| times.push(Timestamp(*time)));
        times
    }

    #[test]
    fn finds_the_first_that_is_new_enough_also_where_time_goes_back() {
        let times = times(&[10, 30, 20, 40]);
        let found: Vec<usize> =
            [5, 10, 11, 30, 31, 41].iter().map(|t| times.first_reaching(Timestamp(*t))).collect();
        assert_eq!(found, [0, 0, 1, 1, 3, 4]);
        assert_eq!((times.largest(0..3), times.largest(2..2)), (Timestamp(30), Timestamp::NONE));
    }

    #[test]
    fn a_segment_is_found_to_be_less_new() {
        let mut changed = times(&[10, 30, 20, 30]);
        assert_eq!(changed.first_largest(0..4), Some((1, Timestamp(30))));
        assert_eq!(changed.first_largest(2..3), Some((2, Timestamp(20))));
        assert_eq!(changed.first_largest(2..2), None);
        changed.lower(1, Timestamp(5));
        assert_eq!(changed, times(&[10, 5, 20, 30]));
        changed.lower(3, Timestamp(40));
        changed.lower(4, Timestamp(1));
        assert_eq!(changed, times(&[10, 5, 20, 30]), "never more, and none that is not there");
    }

    #[test]
    fn follows_purges_and_truncations() {
        let mut changed = times(&[10, 30, 20, 40]);
        changed.drop_first(2);
        assert_eq!(changed, times(&[20, 40]));
        assert_eq!(changed.first_reaching(Timestamp(25)), 1);
        changed.truncate(2);
        assert_eq!(changed, times(&[20]));
        changed.truncate(1);
        assert_eq!(changed, SealedTimes::default());
        changed.drop_first(3);
        assert_eq!(changed.first_reaching(Timestamp(0)), 0);
    }
}
