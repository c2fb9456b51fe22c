//! Who has confirmed this node as the leader of a term, and when it was asked.
//!
//! openraft keeps such times as well, but not exactly: it takes an answer for one to everything sent since that
//! brings nothing new, as heartbeats and commit positions do. A node that was paused finds answers in its
//! sockets to what it sent before, and what it has sent by then is as new as it gets.
//!
//! Beside it, over which connection a node has answered last: what was sent over an earlier one may be lost, and
//! openraft does not send again what is committed where no entry goes with it.
//!
//! **Invariant:** a time lies before the moment at which the node took in what it answers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::id::NodeId;

/// Of one group: a row for each node that has ever answered.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    rows: Mutex<Rows>,
    /// Told of each answer.
    noted: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Ack {
    node: NodeId,
    term: u64,
    sent: Instant,
    /// Since when the connection has stood over which it has answered.
    over: Option<Instant>,
}

#[derive(Debug, Default)]
struct Rows {
    acks: Vec<Ack>,
    /// When a stream to a node failed last: what was sent before may be lost.
    failed: Vec<(NodeId, Instant)>,
}

impl Rows {
    fn is_lost(&self, node: NodeId, sent: Instant) -> bool {
        self.failed.iter().any(|(at, failed)| *at == node && *failed >= sent)
    }
}

impl Acks {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `node` has answered what was sent at `sent` by the leader of `term`, `over` the connection that has stood since
    /// then, and knows no later one.
    pub(super) fn note(&self, node: NodeId, term: u64, sent: Instant, over: Option<Instant>) {
        let mut rows = self.rows();
        let over = over.filter(|_| !rows.is_lost(node, sent));
        match rows.acks.iter_mut().find(|ack| ack.node == node) {
            // Answers to heartbeats overtake those to entries.
            Some(ack) if ack.term > term => {}
            Some(ack) => {
                ack.over = over.or(ack.over.filter(|_| ack.term == term));
                (ack.term, ack.sent) = (ack.term, ack.sent).max((term, sent));
            }
            None => rows.acks.push(Ack { node, term, sent, over }),
        }
        drop(rows);
        self.noted.notify_waiters();
    }

    /// Resolves once what was answered since the call, or before, meets `condition`.
    pub(crate) async fn wait_for(&self, condition: impl Fn() -> bool) {
        loop {
            let noted = self.noted.notified();
            if condition() {
                return;
            }
            noted.await;
        }
    }

    /// A stream to `node` has failed: what it was sent may be lost.
    pub(super) fn fail(&self, node: NodeId) {
        let (mut rows, now) = (self.rows(), Instant::now());
        match rows.failed.iter_mut().find(|(at, _)| *at == node) {
            Some((_, failed)) => *failed = now,
            None => rows.failed.push((node, now)),
        }
        if let Some(ack) = rows.acks.iter_mut().find(|ack| ack.node == node) {
            ack.over = None;
        }
    }

    /// Whether `node` has answered in `term` over the connection that has stood since `over`, and no stream to it has failed
    /// since: it knows, or will soon, what is committed.
    pub(crate) fn is_told(&self, node: NodeId, term: u64, over: Instant) -> bool {
        let rows = self.rows();
        let ack = rows.acks.iter().find(|ack| ack.node == node && ack.term == term);
        ack.is_some_and(|ack| ack.over == Some(over))
    }

    /// When that was sent which `node` has answered last, if it was in `term`.
    pub(crate) fn of(&self, node: NodeId, term: u64) -> Option<Instant> {
        let rows = self.rows();
        let ack = rows.acks.iter().find(|ack| ack.node == node && ack.term == term);
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
        acks.note(one, 3, late, None);
        acks.note(one, 3, early, None);
        acks.note(one, 2, late + Duration::from_secs(1), None);
        acks.note(two, 4, early, None);
        assert_eq!((acks.of(one, 3), acks.of(two, 4)), (Some(late), Some(early)));
        assert_eq!((acks.of(one, 2), acks.of(two, 3)), (None, None));
    }

    #[test]
    fn a_node_is_told_over_the_connection_that_stands_until_a_stream_fails() {
        let (acks, one) = (Acks::default(), NodeId(1));
        let first = Instant::now();
        let second = first + Duration::from_millis(1);
        acks.note(one, 3, second, Some(first));
        assert!(acks.is_told(one, 3, first));
        assert!(!acks.is_told(one, 3, second) && !acks.is_told(one, 4, first));
        acks.fail(one);
        acks.note(one, 3, first, Some(first));
        assert!(!acks.is_told(one, 3, first), "it was sent before the failure");
        let later = Instant::now() + Duration::from_millis(1);
        acks.note(one, 3, later, Some(second));
        acks.note(one, 3, later, None);
        assert!(acks.is_told(one, 3, second));
        acks.note(one, 4, later, None);
        assert!(!acks.is_told(one, 4, second), "in another term");
    }
}
