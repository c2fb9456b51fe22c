//! A bound on log lines that strangers or a thousand logs can cause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a number of lines pass in each window of time and counts those that it holds back.
#[derive(Debug)]
pub(crate) struct LogLimit {
    lines_max: u32,
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    began: Instant,
    lines: u32,
    held_back: u64,
}

impl LogLimit {
    pub(crate) fn new(lines_max: u32, window: Duration) -> Self {
        let state = State { began: Instant::now(), lines: 0, held_back: 0 };
        Self { lines_max, window, state: Mutex::new(state) }
    }

    /// Whether a line may be written at `now`; with it, how many were held back since the last.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(state.began) >= self.window {
            (state.began, state.lines) = (now, 0);
        }
        if state.lines == self.lines_max {
            state.held_back += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_back_and_tells_how_many() {
        let limit = LogLimit::new(2, Duration::from_secs(1));
        let start = Instant::now();
        let outcomes: Vec<_> = (0..5).map(|_| limit.admit(start)).collect();
        assert_eq!(outcomes, [Some(0), Some(0), None, None, None]);
        let later = start + Duration::from_secs(2);
        assert_eq!(limit.admit(later), Some(3));
        assert_eq!(limit.admit(later), Some(0));
    }
}
