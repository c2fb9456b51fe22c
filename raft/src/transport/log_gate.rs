//! Lets one log line per second through, and counts the others.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// A gate for lines that somebody outside could cause at will.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    state: Mutex<(Option<Instant>, u64)>,
}

impl LogGate {
    /// `Some(lines held back since the last one)` where a line may be written now.
    pub(crate) fn open(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (last, held) = &mut *state;
        if last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            *held += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_back_and_counts() {
        let gate = LogGate::default();
        assert_eq!(gate.open(), Some(0));
        assert_eq!(gate.open(), None);
        assert_eq!(gate.open(), None);
        gate.state.lock().unwrap().0 = Instant::now().checked_sub(INTERVAL);
        assert_eq!(gate.open(), Some(2));
    }
}
