//! Which bytes of a segment this process knows to be sound, so that a disk's damage is not served and
//! nothing is checked for every fetch.
//!
//! ```text
//! [head │ never looked at │ checked for fetches │ never looked at │ scanned by recovery, appended ─►
//!                         └─ one of `ranges` ───┘                 └ `from`
//! ```
//! **Invariant:** bytes are noted only after their CRCs were checked, or where this process wrote them.

use std::ops::Range;
use std::sync::Mutex;

use super::locks::lock;

/// Stretches remembered of a segment: readers go on where they were, so each of them has one.
const RANGES_MAX: usize = 64;

/// The sound bytes of a segment, by position.
pub(super) struct Checked(Mutex<State>);

struct State {
    from: u64,
    /// Apart from one another.
    ranges: Vec<Range<u64>>,
}

impl Checked {
    /// Of a segment that nobody has looked at.
    pub(super) fn nothing() -> Self {
        Self(Mutex::new(State { from: u64::MAX, ranges: Vec::new() }))
    }

    /// Everything at and behind `position` was scanned, or is written by this process.
    pub(super) fn note_from(&self, position: u64) {
        let mut state = lock(&self.0);
        state.from = state.from.min(position);
    }

    /// `range` was checked.
    pub(super) fn note(&self, range: Range<u64>) {
        let ranges = &mut lock(&self.0).ranges;
        let mut all = range;
        ranges.retain(|known| {
            let touches = all.start <= known.end && known.start <= all.end;
            if touches {
                all = all.start.min(known.start)..all.end.max(known.end);
            }
            !touches
        });
        if ranges.len() == RANGES_MAX {
            // What is forgotten is checked again.
            let shortest = (0..RANGES_MAX).min_by_key(|at| ranges[*at].end - ranges[*at].start);
            shortest.map(|at| ranges.swap_remove(at));
        }
        ranges.push(all);
    }

    /// Whether all of `range` is known to be sound.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        let state = lock(&self.0);
        let end = range.end.min(state.from.max(range.start));
        let is_known = |known: &Range<u64>| known.start <= range.start && end <= known.end;
        range.start >= end || state.ranges.iter().any(is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_was_checked_and_no_more() {
        let checked = Checked::nothing();
        assert!(!checked.covers(&(10..20)));
        checked.note(10..20);
        checked.note(20..30);
        assert!(checked.covers(&(10..30)) && checked.covers(&(15..16)));
        assert!(!checked.covers(&(9..11)) && !checked.covers(&(29..31)));
        checked.note_from(30);
        assert!(checked.covers(&(10..100)) && checked.covers(&(90..100)));
        checked.note(2..4);
        assert!(checked.covers(&(2..4)) && checked.covers(&(10..30)) && !checked.covers(&(3..11)));
        checked.note(4..10);
        assert!(checked.covers(&(2..30)));
        checked.note_from(0);
        assert!(checked.covers(&(0..100)));
    }

    #[test]
    fn forgets_the_shortest_where_there_are_too_many() {
        let checked = Checked::nothing();
        let range = |at: u64| at * 100..at * 100 + if at == 7 { 5 } else { 10 };
        (0..=RANGES_MAX as u64).for_each(|at| checked.note(range(at)));
        let forgotten: Vec<_> =
            (0..=RANGES_MAX as u64).filter(|at| !checked.covers(&range(*at))).collect();
        assert_eq!(forgotten, [7]);
    }
}
