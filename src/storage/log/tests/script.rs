//! Steps that are done to a log.

use super::held::{Allowed, Held};
use super::random::Random;
use super::*;

/// Something that is done to a log.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Entries of these payload sizes; an odd one is a frame.
    Append(Vec<usize>),
    NewTerm,
    Sync,
    /// Keeps this share (of 255) of the entries that are not committed.
    Truncate(u8),
    /// Closes the active segment.
    Roll,
    /// Forgets this share of the entries, with a snapshot.
    Purge(u8),
    Reset,
    /// Commits this share of what is not committed yet, and compacts.
    Compact(u8),
    Restart,
    /// The process ends and begins again; the machine goes on.
    Restarted,
    /// From here on the log is relaxed, or durable.
    Flush(FlushPolicy),
}

impl Step {
    pub(super) fn random(random: &mut Random) -> Self {
        match random.below(100) {
            0..41 => {
                // Now and then several segments at once.
                let most = if random.below(6) == 0 { 25 } else { 5 };
                let sizes = (0..1 + random.below(most)).map(|_| random.below(700));
                Self::Append(sizes.collect())
            }
            41..44 => Self::Flush(match random.below(3) {
                0 => FlushPolicy::Durable,
                1 => FlushPolicy::Relaxed { messages: u64::MAX, ms: u64::MAX },
                _ => FlushPolicy::Relaxed { messages: 7, ms: u64::MAX },
            }),
            44..49 => Self::NewTerm,
            49..64 => Self::Sync,
            64..72 => Self::Truncate(random.next() as u8),
            72..78 => Self::Roll,
            78..85 => Self::Purge(random.next() as u8),
            85..87 => Self::Reset,
            87..93 => Self::Compact(if random.coin() { 255 } else { random.next() as u8 }),
            93..96 => Self::Restart,
            _ => Self::Restarted,
        }
    }
}

/// A step, and what it does to a log that holds something.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) step: Step,
    pub(super) appended: Vec<LogEntry>,
    pub(super) before: Arc<Held>,
    pub(super) after: Arc<Held>,
}

impl Planned {
    pub(super) fn new(before: &Arc<Held>, step: Step) -> Self {
        let (appended, after) = before.after(&step);
        Self { step, appended, before: Arc::clone(before), after: Arc::new(after) }
    }

    /// `steps` steps drawn by `seed`.
    pub(super) fn script(seed: u64, steps: usize) -> Vec<Self> {
        let mut random = Random(seed);
        Self::all((0..steps).map(|_| Step::random(&mut random)))
    }

    /// What `steps` do to a new log.
    pub(super) fn all(steps: impl IntoIterator<Item = Step>) -> Vec<Self> {
        let mut held = Arc::new(Held::new());
        let plan = |step| {
            let planned = Self::new(&held, step);
            held = Arc::clone(&planned.after);
            planned
        };
        steps.into_iter().map(plan).collect()
    }

    pub(super) fn allowed(&self) -> Allowed {
        Allowed {
            before: Arc::clone(&self.before),
            after: Arc::clone(&self.after),
            truncates: matches!(self.step, Step::Truncate(_)),
        }
    }
}
