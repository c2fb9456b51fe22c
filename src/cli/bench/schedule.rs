//! When each record of a fixed rate is to be sent.
//!
//! **Invariant:** the times depend on nothing that happens, so that a record which could not be sent in
//! time counts from when it should have been (no coordinated omission).

use std::time::Duration;

/// Record `n` is due at `phase + n × period`, counted from the start of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    phase_ns: f64,
    period_ns: f64,
}

impl Schedule {
    /// One of `shares` equal parts of `records_per_s`; the parts' records alternate.
    pub(super) fn new(records_per_s: f64, share: usize, shares: usize) -> Self {
        let whole_ns = 1e9 / records_per_s;
        Self { phase_ns: whole_ns * share as f64, period_ns: whole_ns * shares as f64 }
    }

    /// When record `n` is due.
    pub(super) fn intended(&self, n: u64) -> Duration {
        Duration::from_nanos((self.phase_ns + n as f64 * self.period_ns) as u64)
    }

    /// How many records are due at `now`.
    pub(super) fn due(&self, now: Duration) -> u64 {
        let since_ns = now.as_nanos() as f64 - self.phase_ns;
        let mut count = (since_ns / self.period_ns + 1.0).max(0.0) as u64;
        // What is due is what `intended` says, however the division was rounded.
        while self.intended(count) <= now {
            count += 1;
        }
        while count > 0 && self.intended(count - 1) > now {
            count -= 1;
        }
        count
    }

    /// How many records are due before `time`.
    pub(super) fn due_before(&self, time: Duration) -> u64 {
        match time {
            Duration::MAX => u64::MAX,
            time => time.checked_sub(Duration::from_nanos(1)).map_or(0, |last| self.due(last)),
        }
    }

    /// Time from one record to the next, ns.
    pub(super) fn period_ns(&self) -> f64 {
        self.period_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_what_was_intended() {
        for rate in [0.5, 3.0, 1_000.0, 7_777.7, 3_000_000.0] {
            for shares in [1, 3, 200] {
                let schedule = Schedule::new(rate, shares - 1, shares);
                for n in [0, 1, 2, 999, 1_000_000, 1_000_000_007] {
                    let at = schedule.intended(n);
                    if at > Duration::from_secs(1_000_000_000) {
                        // No run lasts for 30 years, and nanoseconds end some time after.
                        continue;
                    }
                    assert!(schedule.due(at) > n, "{rate} {shares} {n}");
                    if let Some(before) = at.checked_sub(Duration::from_nanos(1)) {
                        assert!(schedule.due(before) <= n, "{rate} {shares} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn shares_add_up_to_the_rate() {
        let now = Duration::from_secs(10);
        let due = (0..7).map(|share| Schedule::new(1000.0, share, 7).due(now)).sum::<u64>();
        // At 0 and at 10 s as well.
        assert_eq!(due, 10_001);
        assert_eq!(Schedule::new(1000.0, 1, 2).due(Duration::ZERO), 0);
        assert_eq!(Schedule::new(1000.0, 0, 2).due(Duration::ZERO), 1);
    }
}
