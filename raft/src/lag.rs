//! How far a voter is behind its leader, and whether it could take over from it.

use std::fmt;

/// A voter that takes over is sent what it lacks before it stands. It may lack so many entries,
const ENTRIES_MAX: u64 = 1_000;
/// and so many bytes,
const BYTES_MAX: u64 = 4 << 20;
/// but no more than is sent in so short a time: the group takes no writes meanwhile.
const SENT_WITHIN_MS: u64 = 32;

/// What a voter is not known to hold of its leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Entries, committed or not.
    pub entries: u64,
    /// Bytes of the committed ones; the others are on their way to every voter alike. `None` where the voter
    /// has said nothing in this term, or the log holds no more what it lacks.
    pub bytes: Option<u64>,
}

impl Lag {
    /// Whether so little is lacking that the voter could take over, where what is committed is sent at
    /// `bytes_per_s`.
    pub(crate) fn is_small(self, bytes_per_s: u64) -> bool {
        let bytes_max = (bytes_per_s / 1_000).saturating_mul(SENT_WITHIN_MS).min(BYTES_MAX);
        self.entries <= ENTRIES_MAX && self.bytes.is_some_and(|bytes| bytes <= bytes_max)
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.entries)?;
        match self.bytes {
            Some(bytes) if bytes > 0 => write!(f, " ({bytes} bytes)"),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_may_lack_some_entries_and_what_is_soon_sent() {
        let is_small = |entries, bytes, rate| Lag { entries, bytes }.is_small(rate);
        let rate = 1 << 30;
        assert!(is_small(0, Some(0), 1), "nothing, at any rate");
        assert!(is_small(1_000, Some(4 << 20), rate) && !is_small(1_001, Some(0), rate));
        assert!(!is_small(1, Some((4 << 20) + 1), rate), "few entries, large ones");
        assert!(is_small(1, Some(32_000), 1_000_000) && !is_small(1, Some(32_001), 1_000_000));
        assert!(!is_small(1, None, rate), "it is not known");
    }

    #[test]
    fn it_is_told_in_entries_and_bytes() {
        let told = |entries, bytes| Lag { entries, bytes }.to_string();
        assert_eq!(told(7, Some(900)), "7 entries (900 bytes)");
        assert_eq!((told(7, Some(0)), told(7, None)), ("7 entries".into(), "7 entries".into()));
    }
}
