//! A new group's first entry, written before the group is opened.
//!
//! openraft's `initialize` begins an election on every voter that is told the members: each votes for
//! itself, the term is lost, and with it a durable vote per voter. A group that finds its members in
//! its log waits for its first candidate.
//!
//! **Invariant:** the entry is on disk before the group is opened, and so before it votes.

use std::collections::BTreeSet;
use std::io;

use tokio::sync::oneshot;

use crate::entry::{Entry, Payload};
use crate::flushed::Flushed;
use crate::id::{GroupId, LogId, NodeId};
use crate::membership::Membership;
use crate::port::{HardStateStore, LogPort, LogState};
use crate::vote::HardState;

/// Makes `voters` the members of a group whose log is empty and that has never voted here; nothing
/// otherwise.
pub(crate) async fn found(
    id: GroupId,
    log: &dyn LogPort,
    hard: &dyn HardStateStore,
    voters: BTreeSet<NodeId>,
) -> io::Result<()> {
    let HardState { vote, refilling, unproven, .. } = hard.load(id)?;
    if vote.is_some() || refilling || unproven || log.state()? != LogState::default() {
        return Ok(());
    }
    // What openraft would write.
    let log_id = LogId { term: 0, index: 0 };
    let payload = Payload::Membership(Membership::of_voters(voters));
    let (tell, told) = oneshot::channel();
    let flushed = Flushed::new(move |result| {
        // Whoever waits may have been dropped: the entry is there all the same.
        let _ = tell.send(result);
    });
    log.append(vec![Entry { log_id, payload }], flushed)?;
    told.await.unwrap_or_else(|_| Err(io::Error::other("the log was closed")))
}
