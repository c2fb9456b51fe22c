//! Monotonic time for sessions and deadlines, injected like the wall clock.
//!
//! **Invariant:** no deadline of a group is a wall-clock time: a clock that is set forward must
//! not expire every member at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::model::Timestamp;

/// Milliseconds since some fixed moment of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `ms` milliseconds later; a negative `ms` counts as 0.
    #[must_use]
    pub fn after_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(u64::try_from(ms).unwrap_or(0)))
    }
}

/// Both times of an event: deadlines are set by the tick, records are stamped with the wall time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic.
    pub tick: Tick,
    /// Wall clock.
    pub wall: Timestamp,
}

/// A source of monotonic time.
pub trait Ticks: Send + Sync + 'static {
    /// The current tick.
    fn now(&self) -> Tick;
}

/// The operating system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicTicks(Instant);

impl Default for MonotonicTicks {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Ticks for MonotonicTicks {
    fn now(&self) -> Tick {
        Tick(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Monotonic time that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualTicks(AtomicU64);

impl ManualTicks {
    /// Moves time on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Ticks for ManualTicks {
    fn now(&self) -> Tick {
        Tick(self.0.load(Ordering::SeqCst))
    }
}
