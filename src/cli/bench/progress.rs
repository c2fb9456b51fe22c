//! A bar on standard error, if someone watches.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What a run is measured against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// So many records or bytes.
    Count(u64),
    Time(Duration),
    /// Until somebody ends it.
    None,
}

/// How far a run has come.
pub(super) struct Progress {
    bar: ProgressBar,
    goal: Goal,
    shown: Duration,
    /// Count and time when the shown rate was last computed.
    before: (u64, Duration),
}

/// The bar moves so often.
const SHOW_EVERY: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn new(goal: Goal) -> Self {
        let bar = match goal {
            _ if !stderr().is_terminal() => ProgressBar::hidden(),
            Goal::Count(count) => ProgressBar::new(count),
            Goal::Time(time) => ProgressBar::new(time.as_millis() as u64),
            Goal::None => ProgressBar::new_spinner(),
        };
        let template = match goal {
            Goal::Count(_) => "{bar:32} {percent:>3}% eta {eta} {msg}",
            Goal::Time(_) => "{bar:32} {percent:>3}% {elapsed} {msg}",
            Goal::None => "{spinner} {elapsed} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, goal, shown: Duration::ZERO, before: (0, Duration::ZERO) }
    }

    /// Shows `count` after `now`, with what `message` makes of the count per second.
    pub(super) fn show(&mut self, now: Duration, count: u64, message: impl FnOnce(f64) -> String) {
        if self.bar.is_hidden() || now < self.shown + SHOW_EVERY {
            return;
        }
        let (before, then) = self.before;
        let per_s = count.saturating_sub(before) as f64 / (now - then).as_secs_f64().max(1e-3);
        (self.shown, self.before) = (now, (count, now));
        match self.goal {
            Goal::Count(_) => self.bar.set_position(count),
            Goal::Time(_) => self.bar.set_position(now.as_millis() as u64),
            Goal::None => self.bar.tick(),
        }
        self.bar.set_message(message(per_s));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
