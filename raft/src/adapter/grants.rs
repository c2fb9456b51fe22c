//! What voters hold of the log, as their votes have told.
//!
//! openraft looks for the place where two logs part by halving them, a request at each step, and not before it has found
//! it does it send a new leader's first entry. A voter says with its vote where its log ends. Where that is in the term in
//! which the candidate's log ends, it is the candidate's log as far as it goes: the entries of a term are of one leader,
//! and follow upon the same ones wherever they are (Raft paper, section 5.3, Log Matching). What openraft asks up to there
//! needs no request then.
//!
//! **Invariant:** what is answered so tells nothing of a voter but its log: neither that it has this node for its leader,
//! nor that what it has is on disk. Entries are committed by one of the leader's own term only, which is always sent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::id::{LogId, NodeId};

/// Of one group: a row for each node that has voted for this one.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    rows: Mutex<Vec<Grant>>,
    /// Requests that were not sent.
    #[cfg(test)]
    spared: std::sync::atomic::AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    node: NodeId,
    term: u64,
    /// Index of the last entry that both are known to have.
    upto: u64,
    /// Since when the connection has stood over which it has voted. A node that starts anew may have lost entries.
    over: Instant,
}

impl Grants {
    fn rows(&self) -> MutexGuard<'_, Vec<Grant>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `node` has voted for this one in `term`, over the connection that has stood since `over`, with logs that end here
    /// and there.
    pub(super) fn note(
        &self,
        (node, term, over): (NodeId, u64, Instant),
        here: Option<LogId>,
        there: Option<LogId>,
    ) {
        let mut rows = self.rows();
        if rows.iter().any(|grant| grant.term > term) {
            return;
        }
        rows.retain(|grant| grant.node != node && grant.term == term);
        if let Some((here, there)) = here.zip(there)
            && here.term == there.term
        {
            rows.push(Grant { node, term, upto: here.index.min(there.index), over });
        }
    }

    /// The log of `node` is another one than it was: a replica that was damaged begins anew, over the same connection.
    pub(super) fn forget(&self, node: NodeId) {
        self.rows().retain(|grant| grant.node != node);
    }

    /// Whether `node` holds the log of the leader of `term` up to `index`, as far as is known.
    pub(super) fn holds(&self, (node, term, over): (NodeId, u64, Instant), index: u64) -> bool {
        let of = |grant: &&Grant| (grant.node, grant.term, grant.over) == (node, term, over);
        let holds = self.rows().iter().find(of).is_some_and(|grant| index <= grant.upto);
        #[cfg(test)]
        self.spared.fetch_add(u64::from(holds), std::sync::atomic::Ordering::Relaxed);
        holds
    }

    /// Requests that needed not be sent.
    #[cfg(test)]
    pub(crate) fn spared(&self) -> u64 {
        self.spared.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const VOTER: NodeId = NodeId(2);

    fn id(term: u64, index: u64) -> Option<LogId> {
        Some(LogId { term, index })
    }

    #[test]
    fn logs_that_end_in_the_same_term_are_equal_as_far_as_the_shorter_one_goes() {
        let (grants, now) = (Grants::default(), Instant::now());
        let said = (VOTER, 7, now);
        for (here, there, upto) in [
            (id(5, 20), id(5, 20), Some(20)),
            (id(5, 20), id(5, 12), Some(12)),
            (id(5, 20), id(4, 20), None),
            (id(5, 20), id(4, 30), None),
            (id(5, 20), None, None),
            (None, None, None),
        ] {
            grants.note(said, here, there);
            let held = (0..40).rev().find(|index| grants.holds(said, *index));
            assert_eq!(held, upto, "{here:?}, {there:?}");
        }
    }

    #[test]
    fn what_was_said_holds_for_one_term_and_one_connection() {
        let (grants, now) = (Grants::default(), Instant::now());
        grants.note((VOTER, 7, now), id(5, 20), id(5, 20));
        grants.note((NodeId(3), 7, now), id(5, 20), id(5, 20));
        assert!(grants.holds((VOTER, 7, now), 20) && grants.holds((NodeId(3), 7, now), 20));
        assert!(!grants.holds((VOTER, 8, now), 20));
        assert!(!grants.holds((VOTER, 7, now + Duration::from_nanos(1)), 20));
        grants.forget(NodeId(3));
        assert!(grants.holds((VOTER, 7, now), 20) && !grants.holds((NodeId(3), 7, now), 20));
        grants.note((NodeId(3), 9, now), id(5, 20), id(5, 20));
        assert!(!grants.holds((VOTER, 7, now), 20), "of an earlier term");
        grants.note((VOTER, 7, now), id(5, 20), id(5, 20));
        assert!(grants.holds((NodeId(3), 9, now), 20) && !grants.holds((VOTER, 7, now), 20));
    }
}
