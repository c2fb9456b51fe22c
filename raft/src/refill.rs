//! A replica whose log is gone gets it back before it takes part again.
//!
//! ```text
//! it voted once, but its log is empty ─► refilling, and remembered to be
//!     ─► a leader, confirmed since, says where its log ends ─► all of that is applied and on disk here
//!     ─► member, and remembered to be
//! ```
//! An entry is committed because a majority holds it. A member that has forgotten its copy could make
//! a leader, by its vote, of a replica that lacks the entry: so it does not vote. What it stores anew
//! counts toward majorities as ever, since it does hold that. Once it holds all that a leader had at a
//! time after the loss it holds every entry that may have been committed by its help: entries that it
//! acknowledged to this leader are in that one's log, those of former leaders too if they are or may
//! yet be committed. (Recovery of Viewstamped Replication Revisited, section 4.3, with the vote kept.)
//!
//! **Invariant:** a replica that has voted has had its log on disk: what gives a new group its members
//! is on disk before its first vote. So a vote without a log is a loss, not a beginning.

use std::sync::Arc;
use std::time::Duration;

use crate::flushed::WriteOrder;
use crate::group::Group;
use crate::incomplete::Incomplete;
use crate::leadership::Leaderships;
use crate::port::HardStateStore;
use crate::suffrage::Suffrage;
use crate::transport::{LinkError, Transport};
use crate::wire::{EndAnswer, Kind, Outgoing};

/// Between two questions at least, and at most where nothing new is heard of a leader.
const ASK_FIRST: Duration = Duration::from_millis(50);
const ASK_LAST: Duration = Duration::from_secs(5);
/// Longest wait for a leader's answer, for which it hears a majority.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long a leader is waited for that appends to a new replica by itself.
const FOUND_WAIT: Duration = Duration::from_secs(1);
/// After so long the leader is asked again: another one's log may end earlier.
const REFILL_WAIT: Duration = Duration::from_secs(5);

/// What the refilling of one group's replica needs.
pub(crate) struct Refiller {
    pub(crate) group: Group,
    pub(crate) transport: Arc<Transport>,
    pub(crate) leaderships: Arc<Leaderships>,
    pub(crate) incomplete: Arc<Incomplete>,
    pub(crate) hard: Arc<dyn HardStateStore>,
    pub(crate) order: Arc<WriteOrder>,
}

impl Refiller {
    /// Refills the replica where its log is lost; lets it be seen by the leader otherwise.
    pub(crate) async fn begin(self, is_lost: bool) {
        match is_lost {
            true => self.run().await,
            false => self.be_seen().await,
        }
    }

    /// Runs until the replica is a member again, or its group ends.
    async fn run(self) {
        let mut status = self.group.status();
        let ended = async { while status.changed().await.is_ok() {} };
        self.incomplete.set_local(self.group.id(), true);
        tokio::select! {
            () = self.refill() => {}
            () = ended => {}
        }
        self.incomplete.set_local(self.group.id(), false);
    }

    /// Lets the leader look once at what is held here: asked for its end it confirms itself, and finds
    /// followers whose logs are shorter than it takes them to be. Who leads knows best.
    async fn be_seen(self) {
        let mut status = self.group.status();
        tokio::select! {
            _ = self.leader_end() => {}
            _ = status.wait_for(|status| status.is_leader) => {}
        }
    }

    /// For a replica that holds nothing yet. In a new group a leader appends here soon. Where none does the group may
    /// be old, and its leader, with nothing to send, may take this node for the one that it was before its data
    /// were gone: it is asked to look.
    pub(crate) async fn be_found(self) {
        let mut status = self.group.status();
        let mut is_led = async || status.wait_for(|status| status.leader.is_some()).await.is_ok();
        while tokio::time::timeout(FOUND_WAIT, is_led()).await.is_err() {
            if self.ask().await.is_ok() {
                return;
            }
        }
    }

    async fn refill(&self) {
        let id = self.group.id();
        let mut end = u64::MAX;
        loop {
            // Any answer since the loss will do: the least is reached first.
            end = end.min(self.leader_end().await);
            self.group.set_suffrage(Suffrage::Refilling { end: Some(end) });
            if self.is_applied(end).await {
                break;
            }
        }
        self.order.settled().await;
        match self.hard.save_refilling(id, false).await {
            Ok(()) => {
                // Said first: whoever sees it vote finds the line.
                tracing::info!(group = %id, end, "the log is complete again: this replica votes");
                self.group.set_suffrage(Suffrage::Voter);
            }
            Err(error) => {
                tracing::error!(group = %id, %error, "cannot be noted as complete: it stays without vote");
            }
        }
    }

    /// Where the leader's log ends; asks until one answers.
    async fn leader_end(&self) -> u64 {
        let mut version = self.leaderships.version();
        let mut wait = ASK_FIRST;
        loop {
            version.borrow_and_update();
            match self.ask().await {
                Ok(end) => return end,
                Err(error) => {
                    tracing::debug!(group = %self.group.id(), %error, "no leader says where its log ends");
                }
            }
            tokio::time::sleep(ASK_FIRST).await;
            // A change is a reason to ask at once; without one, less and less often.
            let _ = tokio::time::timeout(wait, version.changed()).await;
            wait = (wait * 2).min(ASK_LAST);
        }
    }

    async fn ask(&self) -> Result<u64, LinkError> {
        let id = self.group.id();
        let leader = self.leaderships.leader_of(id).ok_or(LinkError::Closed)?.leader;
        let link = self.transport.link(leader).ok_or(LinkError::Closed)?;
        let pending = link.ask_urgent(Outgoing::new(Kind::End, id, 0), ANSWER_WAIT)?;
        let answer = tokio::time::timeout(ANSWER_WAIT, pending).await;
        let answer = answer.unwrap_or(Err(LinkError::Timeout))?;
        Ok(EndAnswer::decode(answer.body)?.index)
    }

    async fn is_applied(&self, end: u64) -> bool {
        let mut status = self.group.status();
        let there = status.wait_for(|status| status.applied.is_some_and(|last| last.index >= end));
        matches!(tokio::time::timeout(REFILL_WAIT, there).await, Ok(Ok(_)))
    }
}
