//! Which bytes of a segment this process knows to be sound, so that a disk's damage is not served and
//! nothing is checked for every fetch.
//!
//! ```text
//! [head │ never looked at │ checked for fetches │ never looked at │ scanned by recovery, appended ─►
//!                         └──── `range` ────────┘                 └ `from`
//! ```
//! **Invariant:** bytes are noted only after their CRCs were checked, or where this process wrote them.

use std::ops::Range;
use std::sync::Mutex;

use super::locks::lock;

/// The sound bytes of a segment, by position.
pub(super) struct Checked(Mutex<State>);

struct State {
    from: u64,
    /// One stretch: a reader goes on where it was, so what it checks lies side by side.
    range: Range<u64>,
}

impl Checked {
    /// Of a segment that nobody has looked at.
    pub(super) fn nothing() -> Self {
        Self(Mutex::new(State { from: u64::MAX, range: 0..0 }))
    }

    /// Everything at and behind `position` was scanned, or is written by this process.
    pub(super) fn note_from(&self, position: u64) {
        let mut state = lock(&self.0);
        state.from = state.from.min(position);
    }

    /// `range` was checked.
    pub(super) fn note(&self, range: Range<u64>) {
        let known = &mut lock(&self.0).range;
        let touches = range.start <= known.end && known.start <= range.end;
        *known =
            if touches { known.start.min(range.start)..known.end.max(range.end) } else { range };
    }

    /// Whether all of `range` is known to be sound.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        let state = lock(&self.0);
        let known = &state.range;
        let end = range.end.min(state.from.max(range.start));
        range.start >= end || (known.start <= range.start && end <= known.end)
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
        checked.note(50..60);
        checked.note(2..4);
        assert!(checked.covers(&(2..4)) && !checked.covers(&(10..30)));
        checked.note_from(0);
        assert!(checked.covers(&(0..100)));
    }
}
