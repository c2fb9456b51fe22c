//! How long each partition went without an acknowledgement.

use std::time::Duration;

/// A time without an acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) length: Duration,
    /// When it began, since the start of the run.
    pub(super) from: Duration,
    /// It had not ended when the run did.
    pub(super) is_open: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    last: Duration,
    longest: Gap,
    acknowledgements: u64,
}

/// The longest gap of each partition after the warm-up.
#[derive(Debug)]
pub(super) struct Gaps {
    measured_from: Duration,
    lanes: Vec<Seen>,
}

impl Gaps {
    pub(super) fn new(partitions: usize, measured_from: Duration) -> Self {
        let seen = Seen { last: measured_from, ..Seen::default() };
        Self { measured_from, lanes: vec![seen; partitions] }
    }

    /// A batch of the partition at `lane` was acknowledged.
    pub(super) fn acknowledge(&mut self, lane: usize, now: Duration) {
        if now >= self.measured_from {
            self.lanes[lane].acknowledgements += 1;
            self.note(lane, now, false);
        }
    }

    fn note(&mut self, lane: usize, now: Duration, is_open: bool) {
        let seen = &mut self.lanes[lane];
        let length = now.saturating_sub(seen.last);
        if length > seen.longest.length {
            seen.longest = Gap { length, from: seen.last, is_open };
        }
        seen.last = now;
    }

    /// No record is due from `end` on. Who has been without an acknowledgement for longer than `usual` then
    /// has a gap that lasted until then, or longer.
    pub(super) fn close(&mut self, end: Duration, usual: Duration) {
        for lane in 0..self.lanes.len() {
            if end.saturating_sub(self.lanes[lane].last) > usual {
                self.note(lane, end, true);
            }
        }
    }

    /// The longest gap over all partitions so far.
    pub(super) fn longest(&self) -> Duration {
        self.lanes.iter().map(|seen| seen.longest.length).max().unwrap_or_default()
    }

    /// The longest gap and the number of acknowledgements of each partition.
    pub(super) fn all(&self) -> impl Iterator<Item = (Gap, u64)> + '_ {
        self.lanes.iter().map(|seen| (seen.longest, seen.acknowledgements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_of_each_is_kept_with_its_begin() {
        let at = Duration::from_millis;
        let mut gaps = Gaps::new(3, at(100));
        gaps.acknowledge(0, at(50));
        for ms in [110, 120, 520, 530] {
            gaps.acknowledge(0, at(ms));
            gaps.acknowledge(1, at(ms.min(130)));
        }
        // The first had its last acknowledgement 10 ms ago, as usual.
        gaps.close(at(540), at(20));
        let all: Vec<(Gap, u64)> = gaps.all().collect();
        assert_eq!(all[0], (Gap { length: at(400), from: at(120), is_open: false }, 4));
        assert_eq!(all[1], (Gap { length: at(410), from: at(130), is_open: true }, 4));
        assert_eq!(all[2], (Gap { length: at(440), from: at(100), is_open: true }, 0));
        assert_eq!(gaps.longest(), at(440));
    }
}
