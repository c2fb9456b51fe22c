//! A replica that may have forgotten a vote hears where the others stand before it takes part again.
//!
//! ```text
//! votes lost, or the log is of a later term than the vote ─► unproven, and remembered to be: hidden from peers
//!     ─► every other voter has told its term ─► the largest is taken over, without a vote for anybody else
//!     ─► seen by peers; member, or refilling if the log is lost as well
//! ```
//! A forgotten vote is a promise that is broken twice: the replica may vote for a second candidate of
//! the term, and it may acknowledge to a leader that it has helped to vote out. So it neither votes nor
//! takes entries. Whoever asked for the forgotten vote had saved that term before it asked: the largest
//! term of **all** others is at least the forgotten one. A majority of them is not enough: the candidate
//! may be missing among them, and be elected by that vote later.
//!
//! What others tell may itself be less than what they forgot. That does no harm: who has forgotten has been
//! started again, and is neither a candidate nor a leader of that term any more; and it counts the term
//! of its log, by which nobody can have been elected unseen.
//!
//! **Invariant:** what a replica tells of its group is on disk, or about to be, and at least its log's term.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::adapter::{VoteRequest, to_vote};
use crate::call::{self, CallSlot};
use crate::error::CallError;
use crate::group::Group;
use crate::id::{GroupId, NodeId};
use crate::port::{HardStateStore, LogPort};
use crate::suffrage::Suffrage;
use crate::transport::Transport;
use crate::vote::{HardState, Vote};

/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Between two rounds of questions.
const ASK_FIRST: Duration = Duration::from_millis(50);
const ASK_LAST: Duration = Duration::from_secs(2);
/// After so many rounds the operator is told whom it waits for.
const QUIET_ROUNDS: u32 = 5;

/// What a replica is when its group is opened.
pub(crate) struct Standing {
    pub(crate) suffrage: Suffrage,
    /// Its log is lost or incomplete.
    pub(crate) is_refilling: bool,
    /// The last saved vote; where newer ones may be forgotten, one at the log's term at least.
    pub(crate) vote: Option<Vote>,
}

/// What a replica is. That its log or its votes are lost is remembered before anything else is written: from
/// then on the files alone may not show it.
pub(crate) async fn standing(
    id: GroupId,
    me: NodeId,
    log: &dyn LogPort,
    hard: &dyn HardStateStore,
) -> io::Result<Standing> {
    let HardState { vote, refilling, unproven, .. } = hard.load(id)?;
    let last = log.state()?.last;
    let log_term = last.map_or(0, |last| last.term);
    let is_unproven = unproven || vote.map_or(0, |vote| vote.term) < log_term;
    let log_lost = last.is_none() && (vote.is_some() || unproven);
    if log_lost && !refilling {
        tracing::warn!(group = %id, "the log is gone: it is got back from the leader, without a vote");
        hard.save_refilling(id, true).await?;
    }
    let is_refilling = log_lost || refilling;
    if !is_unproven {
        let suffrage = match (is_refilling, last) {
            (true, _) => Suffrage::Refilling { end: None },
            (false, None) => Suffrage::New,
            (false, Some(_)) => Suffrage::Voter,
        };
        return Ok(Standing { suffrage, is_refilling, vote });
    }
    if !unproven {
        tracing::warn!(
            group = %id, log_term, vote_term = vote.map(|vote| vote.term),
            "the log is of a later term than the vote: a vote is lost, and this replica takes no part \
             before it has heard from all others where they stand"
        );
        hard.save_unproven(id, true).await?;
    }
    let floor = Vote { term: log_term, node: me, committed: false };
    let vote = vote.filter(|vote| vote.term >= log_term).unwrap_or(floor);
    hard.save_vote(id, vote).await?;
    Ok(Standing { suffrage: Suffrage::Unproven, is_refilling, vote: Some(vote) })
}

/// Finds out where a replica stands.
pub(crate) struct Prover {
    pub(crate) group: Group,
    pub(crate) transport: Arc<Transport>,
    pub(crate) calls: Arc<CallSlot>,
    pub(crate) hard: Arc<dyn HardStateStore>,
    /// As [`Standing::vote`].
    pub(crate) vote: Option<Vote>,
}

impl Prover {
    /// Resolves once the replica may be seen by its peers; false where its group has ended.
    pub(crate) async fn run(&self) -> bool {
        let mut status = self.group.status();
        let ended = async { while status.changed().await.is_ok() {} };
        let proven = tokio::select! {
            proven = self.prove() => proven,
            () = ended => return false,
        };
        if let Err(error) = &proven {
            tracing::error!(group = %self.group.id(), %error, "its term cannot be taken over: it takes no part");
        }
        proven.is_ok()
    }

    async fn prove(&self) -> io::Result<()> {
        let id = self.group.id();
        let others = self.others().await?;
        let term = self.hear(&others).await;
        let me = self.transport.me();
        let heard = Vote { term, node: me, committed: false };
        // In its own term the remembered vote stands.
        if self.vote.is_none_or(|vote| vote.term < term) {
            self.hard.save_vote(id, heard).await?;
            self.take_over(heard).await?;
        }
        self.hard.save_unproven(id, false).await?;
        tracing::info!(group = %id, term, "this replica has heard from all others, and takes part again");
        Ok(())
    }

    /// The group as openraft runs it is to hold `vote`: as if this node had asked itself for it.
    async fn take_over(&self, vote: Vote) -> io::Result<()> {
        let raft = self.group.raft();
        let last = raft.with_raft_state(|state| state.log_ids.last().cloned());
        let last = last.await.map_err(io::Error::other)?;
        let mut request = VoteRequest::new(to_vote(vote), last);
        request.leadership_transfer = true;
        raft.vote(request).await.map(drop).map_err(io::Error::other)
    }

    /// The other voters; every known peer where the log that named them is gone.
    async fn others(&self) -> io::Result<Vec<NodeId>> {
        let voters = self.group.raft().with_raft_state(|state| {
            state.membership_state.effective().voter_ids().collect::<Vec<_>>()
        });
        let voters = voters.await.map_err(io::Error::other)?;
        let me = self.transport.me();
        Ok(match voters.is_empty() {
            true => self.transport.peers().iter().map(|peer| peer.id()).collect(),
            false => voters.into_iter().filter(|voter| *voter != me).collect(),
        })
    }

    /// The largest term, once each of `others` has told its own.
    async fn hear(&self, others: &[NodeId]) -> u64 {
        let mut heard: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut wait = ASK_FIRST;
        for round in 0.. {
            let missing = others.iter().filter(|node| !heard.contains_key(node));
            let answers =
                join_all(missing.map(|node| async move { (*node, self.ask(*node).await) }));
            let mut silent = Vec::new();
            for (node, answer) in answers.await {
                match answer {
                    Ok(term) => drop(heard.insert(node, term)),
                    Err(error) => silent.push(format!("node {node}: {error}")),
                }
            }
            if silent.is_empty() {
                break;
            }
            if round == QUIET_ROUNDS {
                tracing::warn!(
                    group = %self.group.id(), waits_for = silent.join(", "),
                    "this replica has lost its votes, and waits to hear where the others stand"
                );
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(ASK_LAST);
        }
        heard.into_values().chain(self.vote.map(|vote| vote.term)).max().unwrap_or(0)
    }

    async fn ask(&self, node: NodeId) -> Result<u64, CallError> {
        let body = Bytes::copy_from_slice(&self.group.id().to_bytes());
        let answer =
            call::call(&self.transport, &self.calls, node, call::TERM, body, ANSWER_WAIT).await?;
        let bytes = <[u8; 8]>::try_from(&answer[..]);
        bytes.map(u64::from_be_bytes).map_err(|_| CallError::Failed("no term".to_owned()))
    }
}
