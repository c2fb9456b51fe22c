//! Who has confirmed this node as the leader of a term, and when it was asked.
//!
//! openraft keeps such times as well, but not exactly: it takes an answer for one to everything sent since that
//! brings nothing new, as heartbeats and commit positions do. A node that was paused finds answers in its
//! sockets to what it sent before, and what it has sent by then is as new as it gets.
//!
//! **Invariant:** a time lies before the moment at which the node took in what it answers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::id::NodeId;

/// Of one group: a row for each node that has ever answered.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Vec<Ack>>);

#[derive(Clone, Copy, Debug)]
struct Ack {
    node: NodeId,
    term: u64,
    sent: Instant,
}

impl Acks {
    fn rows(&self) -> MutexGuard<'_, Vec<Ack>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `node` has answered what was sent at `sent` by the leader of `term`, and knows no later one.
    pub(super) fn note(&self, node: NodeId, term: u64, sent: Instant) {
        let mut rows = self.rows();
        match rows.iter_mut().find(|ack| ack.node == node) {
            // Answers to heartbeats overtake those to entries.
            Some(ack) if (ack.term, ack.sent) >= (term, sent) => {}
            Some(ack) => (ack.term, ack.sent) = (term, sent),
            None => rows.push(Ack { node, term, sent }),
        }
    }

    /// When that was sent which `node` has answered last, if it was in `term`.
    pub(crate) fn of(&self, node: NodeId, term: u64) -> Option<Instant> {
        let rows = self.rows();
        let ack = rows.iter().find(|ack| ack.node == node && ack.term == term);
        ack.map(|ack| ack.sent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_of_the_newest_term_counts() {
        let acks = Acks::default();
        let (one, two) = (NodeId(1), NodeId(2));
        let early = Instant::now();
        let late = early + Duration::from_millis(1);
        assert_eq!(acks.of(one, 3), None);
        acks.note(one, 3, late);
        acks.note(one, 3, early);
        acks.note(one, 2, late + Duration::from_secs(1));
        acks.note(two, 4, early);
        assert_eq!((acks.of(one, 3), acks.of(two, 4)), (Some(late), Some(early)));
        assert_eq!((acks.of(one, 2), acks.of(two, 3)), (None, None));
    }
}
