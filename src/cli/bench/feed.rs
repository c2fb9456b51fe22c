//! Where records come from: as fast as they are taken, at a fixed rate, or one per partition and tick.

use std::cell::Cell;
use std::time::Duration;

use super::lane::{Batch, Lane};
use super::schedule::Schedule;

/// How much there is to do; shared by all producers of a run. Times count from the run's start.
#[derive(Debug)]
pub(super) struct Budget {
    /// Records due earlier are the warm-up.
    pub(super) measured_from: Duration,
    /// Nothing is due from then on.
    until: Duration,
    /// Measured records that are left.
    left: Cell<u64>,
}

impl Budget {
    /// `records` or `time`, whichever is over first, after a warm-up.
    pub(super) fn new(warm_up: Duration, records: Option<u64>, time: Option<Duration>) -> Self {
        let until = time.map_or(Duration::MAX, |time| warm_up.saturating_add(time));
        Self { measured_from: warm_up, until, left: Cell::new(records.unwrap_or(u64::MAX)) }
    }

    /// No more records.
    pub(super) fn stop(&self) {
        self.left.set(0);
    }

    /// When the time is up, if that is how the run ends.
    pub(super) fn until(&self) -> Duration {
        self.until
    }

    /// Whether nothing that is due at `at` is to be sent.
    pub(super) fn is_over(&self, at: Duration) -> bool {
        at >= self.until || self.left.get() == 0
    }

    /// What is due at `at` or later counts the same until then.
    fn boundary(&self, at: Duration) -> Duration {
        if at < self.measured_from { self.measured_from.min(self.until) } else { self.until }
    }

    /// Up to `count` records due from `due` on and before the next boundary, and whether they are measured.
    fn take(&self, due: Duration, count: u64) -> (u64, bool) {
        if self.is_over(due) {
            return (0, false);
        }
        if due < self.measured_from {
            return (count, false);
        }
        let taken = count.min(self.left.get());
        self.left.set(self.left.get() - taken);
        (taken, true)
    }
}

/// The lanes of a producer get records from here.
#[derive(Debug)]
pub(super) enum Feed {
    /// Whoever can send gets a full batch.
    Greedy,
    /// Records are due one after the other; a batch full of them goes to a partition, then the next.
    Paced(Paced),
    /// A record for each partition every so often.
    Ticks(Ticks),
}

/// A producer's share of a rate.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) schedule: Schedule,
    /// How long a batch waits for more records.
    pub(super) linger: Duration,
    next: u64,
    lane: usize,
    /// Records until the next lane's turn.
    lane_left: u32,
}

/// One record per partition and interval.
#[derive(Debug)]
pub(super) struct Ticks {
    pub(super) interval: Duration,
    next: u32,
}

/// Batches of one lane that wait or are in flight before ticks are left out.
const TICK_BATCHES_MAX: usize = 64;

impl Paced {
    /// `turn` is the lane to begin with.
    pub(super) fn new(schedule: Schedule, linger: Duration, turn: usize) -> Self {
        Self { schedule, linger, next: 0, lane: turn, lane_left: 0 }
    }

    /// Records given to lanes so far.
    pub(super) fn taken(&self) -> u64 {
        self.next
    }

    /// Gives the lanes what is due at `now`, at most `room` records, in batches of up to `batch_max`.
    /// Returns how many batches were begun, and when there will be more to do: never, if all is done.
    pub(super) fn advance(
        &mut self,
        now: Duration,
        lanes: &mut [Lane],
        budget: &Budget,
        mut room: u64,
        batch_max: u32,
    ) -> (usize, Option<Duration>) {
        let mut begun = 0;
        let due = self.schedule.due(now);
        while self.next < due && room > 0 {
            if self.lane_left == 0 {
                self.lane = (self.lane + 1) % lanes.len();
                self.lane_left = batch_max;
            }
            let at = self.schedule.intended(self.next);
            // Those before the next boundary are judged by the first of them.
            let alike = self.schedule.due_before(budget.boundary(at)).max(self.next + 1);
            let wanted = (due.min(alike) - self.next).min(u64::from(self.lane_left)).min(room);
            let lane = &mut lanes[self.lane];
            let next = self.next;
            let fits = |batch: &&mut Batch| {
                let goes_on = batch.first + u64::from(batch.count) == next;
                goes_on
                    && batch.count < batch_max
                    && batch.is_measured == (at >= budget.measured_from)
            };
            let taken = match lane.open_batch().filter(fits) {
                Some(batch) => {
                    let wanted = wanted.min(u64::from(batch_max - batch.count));
                    let (taken, _) = budget.take(at, wanted);
                    batch.count += taken as u32;
                    taken
                }
                None => {
                    // The last batch of the lane gets no more records.
                    lane.open_batch().into_iter().for_each(|batch| batch.is_ready = true);
                    let (taken, is_measured) = budget.take(at, wanted);
                    if taken > 0 {
                        let period_ns = self.schedule.period_ns();
                        let mut batch = Batch::new(next, taken as u32, at, period_ns);
                        (batch.is_measured, batch.is_ready) = (is_measured, false);
                        lane.push(batch);
                        begun += 1;
                    }
                    taken
                }
            };
            if taken == 0 {
                break;
            }
            self.next += taken;
            self.lane_left -= taken as u32;
            room -= taken;
            if self.lane_left == 0 {
                lane.open_batch().into_iter().for_each(|batch| batch.is_ready = true);
            }
        }
        (begun, self.close(now, lanes, budget, batch_max))
    }

    /// Makes the last batch ready if it is full or has waited long enough; when the next one will be.
    fn close(
        &mut self,
        now: Duration,
        lanes: &mut [Lane],
        budget: &Budget,
        batch_max: u32,
    ) -> Option<Duration> {
        let over = budget.is_over(self.schedule.intended(self.next));
        let turn_over = self.lane_left == 0;
        let open = lanes[self.lane].open_batch().filter(|batch| !batch.is_ready);
        if let Some(batch) = open {
            let full_at = self.next + u64::from((batch_max - batch.count).min(self.lane_left));
            let closes = batch.due + self.linger;
            if over || turn_over || batch.count >= batch_max || closes <= now {
                batch.is_ready = true;
            } else {
                return Some(closes.min(self.schedule.intended(full_at.saturating_sub(1))));
            }
        }
        if over {
            return None;
        }
        let room = if turn_over { batch_max } else { self.lane_left };
        let filled = self.schedule.intended(self.next + u64::from(room) - 1);
        Some(filled.min(self.schedule.intended(self.next) + self.linger))
    }
}

impl Ticks {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: 0 }
    }

    /// Gives each lane a record for each tick until `now`, unless it has too many.
    /// Returns how many batches were begun, and when the next tick is: never, if all is done.
    pub(super) fn advance(
        &mut self,
        now: Duration,
        lanes: &mut [Lane],
        budget: &Budget,
    ) -> (usize, Option<Duration>) {
        let mut begun = 0;
        loop {
            let due = self.interval * self.next;
            if budget.is_over(due) {
                return (begun, None);
            }
            if due > now {
                return (begun, Some(due));
            }
            self.next += 1;
            for lane in lanes.iter_mut().filter(|lane| lane.len() < TICK_BATCHES_MAX) {
                let (taken, is_measured) = budget.take(due, 1);
                if taken > 0 {
                    let mut batch = Batch::new(self.next.into(), 1, due, 0.0);
                    batch.is_measured = is_measured;
                    lane.push(batch);
                    begun += 1;
                }
            }
        }
    }
}

/// A full batch that is due now, if there are records left.
pub(super) fn greedy(now: Duration, budget: &Budget, batch_max: u32) -> Option<Batch> {
    let (taken, is_measured) = budget.take(now, u64::from(batch_max));
    let mut batch = Batch::new(0, taken as u32, now, 0.0);
    batch.is_measured = is_measured;
    (taken > 0).then_some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lanes(count: i32) -> Vec<Lane> {
        let lane = |partition| {
            let mut lane = Lane::new(partition);
            lane.learn(Some(1));
            lane
        };
        (0..count).map(lane).collect()
    }

    fn forever() -> Budget {
        Budget::new(Duration::ZERO, None, None)
    }

    /// Takes what is ready, as (partition, first, count).
    fn ready(lanes: &mut [Lane]) -> Vec<(i32, u64, u32)> {
        let mut found = Vec::new();
        for lane in lanes {
            while lane.is_sendable(1) {
                let (first, count) =
                    lane.front().map(|(batch, _)| (batch.first, batch.count)).unwrap();
                found.push((lane.partition, first, count));
                lane.send(1);
            }
        }
        found
    }

    #[test]
    fn a_batch_is_sent_when_it_is_full_or_has_lingered() {
        // A record per ms, four to a batch.
        let mut paced = Paced::new(Schedule::new(1000.0, 0, 1), 2 * MS, 0);
        let (mut lanes, budget) = (lanes(2), forever());
        let (begun, wake) = paced.advance(Duration::ZERO, &mut lanes, &budget, 100, 4);
        assert_eq!((begun, wake), (1, Some(2 * MS)));
        assert_eq!(ready(&mut lanes), []);
        let (_, wake) = paced.advance(2 * MS, &mut lanes, &budget, 100, 4);
        assert_eq!(ready(&mut lanes), [(1, 0, 3)]);
        // The turn of this partition lasts for one more record, which fills it.
        assert_eq!(wake, Some(3 * MS));
        paced.advance(3 * MS, &mut lanes, &budget, 100, 4);
        assert_eq!(ready(&mut lanes), [(1, 3, 1)]);
        // Woken late: full batches to each in turn.
        paced.advance(19 * MS, &mut lanes, &budget, 100, 4);
        assert_eq!(ready(&mut lanes), [(0, 4, 4), (0, 12, 4), (1, 8, 4), (1, 16, 4)]);
    }

    #[test]
    fn without_linger_each_record_goes_at_once_and_more_wait_only_where_they_must() {
        let mut paced = Paced::new(Schedule::new(1000.0, 0, 1), Duration::ZERO, 0);
        let (mut lanes, budget) = (lanes(1), forever());
        let (_, wake) = paced.advance(Duration::ZERO, &mut lanes, &budget, 100, 8);
        assert_eq!((ready(&mut lanes), wake), (vec![(0, 0, 1)], Some(MS)));
        // Nobody takes it: the batch grows.
        for ms in 1..4 {
            paced.advance(ms * MS, &mut lanes, &budget, 100, 8);
        }
        assert_eq!(ready(&mut lanes), [(0, 1, 3)]);
        // Without room nothing is made, and nothing is skipped.
        let (begun, _) = paced.advance(9 * MS, &mut lanes, &budget, 2, 8);
        assert_eq!((begun, ready(&mut lanes)), (1, vec![(0, 4, 2)]));
    }

    #[test]
    fn what_was_due_before_the_end_is_sent_and_nothing_else() {
        let budget = Budget::new(3 * MS, Some(5), None);
        let mut paced = Paced::new(Schedule::new(1000.0, 0, 1), Duration::ZERO, 0);
        let mut lanes = lanes(1);
        let (_, wake) = paced.advance(20 * MS, &mut lanes, &budget, 100, 100);
        // Three of the warm-up, five after it, apart.
        assert_eq!((ready(&mut lanes), wake), (vec![(0, 0, 3), (0, 3, 5)], None));
        let budget = Budget::new(MS, None, Some(2 * MS));
        let mut paced = Paced::new(Schedule::new(1000.0, 0, 1), Duration::ZERO, 0);
        let (_, wake) = paced.advance(20 * MS, &mut lanes, &budget, 100, 100);
        assert_eq!((ready(&mut lanes), wake), (vec![(0, 0, 1), (0, 1, 2)], None));
    }

    #[test]
    fn every_partition_gets_a_record_per_tick_until_it_has_too_many() {
        let budget = Budget::new(Duration::ZERO, None, Some(1000 * MS));
        let (mut ticks, mut lanes) = (Ticks::new(10 * MS), lanes(3));
        assert_eq!(ticks.advance(Duration::ZERO, &mut lanes, &budget), (3, Some(10 * MS)));
        assert_eq!(ticks.advance(25 * MS, &mut lanes, &budget), (6, Some(30 * MS)));
        let (begun, wake) = ticks.advance(2000 * MS, &mut lanes, &budget);
        assert_eq!((begun, wake), (3 * (TICK_BATCHES_MAX - 3), None));
        assert!(greedy(2000 * MS, &budget, 7).is_none());
        assert_eq!(greedy(MS, &budget, 7).unwrap().count, 7);
    }
}
