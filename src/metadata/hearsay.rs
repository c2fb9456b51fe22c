//! What live peers tell of brokers that this one does not hear: where the link between two is cut, others
//! reach both, and so do clients.
//!
//! **Invariant:** what is told is what the teller knows at first hand. It is believed only of brokers that
//! have been silent here for a while and whose process is not known to have ended: of one that has, others
//! may not know yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use jackdaw_raft::{CallError, PeerStatus};
use serde::{Deserialize, Serialize};

use super::Metadata;
use super::command::{decode, encode};
use super::handle::{broker_of, node_of};
use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

/// The kind of call that asks who is there, and so shows whether the one that is called is.
pub(super) const CALL_HEAR: u8 = 3;
/// The kind of call that asks who leads partitions.
pub(super) const CALL_LEADERS: u8 = 4;
/// How long a live peer is waited for: it may be busy.
const HEAR_WAIT: Duration = Duration::from_millis(20);
/// Most bytes of a question who leads: far more than all partitions of a cluster take.
const QUESTION_BYTES_MAX: usize = 4 << 20;
/// How long a broker is silent before others are believed about it.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// Leaders by partition.
pub type Leaders = BTreeMap<(TopicId, PartitionIndex), (BrokerId, LeaderEpoch)>;

/// What was heard, and what was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hearsay {
    /// Brokers that are silent here, and that a live peer hears.
    pub there: BTreeSet<BrokerId>,
    /// Who leads the metadata group, where that is one of them.
    pub controller: Option<BrokerId>,
}

/// The answer to [`CALL_HEAR`].
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    /// Whom the teller hears, itself included.
    alive: BTreeSet<BrokerId>,
    /// Whom it takes for the leader of the metadata group, and in which term.
    controller: Option<(BrokerId, u64)>,
}

/// The answer to [`CALL_LEADERS`]: per partition asked for, whom the teller hears and takes for the leader.
type ToldLeaders = Vec<Option<(BrokerId, LeaderEpoch)>>;

impl Metadata {
    /// Hears from every live peer, or tries to for a moment: a process that ended before the call is
    /// known to have lost its connection afterwards. What they tell of those that are silent here.
    pub async fn hear(&self) -> Hearsay {
        let told = self.ask_all(CALL_HEAR, Bytes::new()).await;
        let told: Vec<Told> = told.iter().filter_map(|told| decode(told).ok()).collect();
        let heard = told.iter().flat_map(|told| &told.alive).copied();
        let there: BTreeSet<_> = heard.filter(|broker| self.may_be_cut_off(*broker)).collect();
        let own = self.inner.status.borrow().term;
        let newest = told.iter().filter_map(|told| told.controller).max_by_key(|(_, term)| *term);
        let newest = newest.filter(|(leader, term)| *term >= own && there.contains(leader));
        Hearsay { controller: newest.map(|(leader, _)| leader), there }
    }

    /// Who leads partitions by the word of live peers, where they tell.
    pub async fn ask_leaders(&self, partitions: Vec<(TopicId, PartitionIndex)>) -> Leaders {
        let told = self.ask_all(CALL_LEADERS, encode(&partitions).into()).await;
        let told = told.iter().filter_map(|told| decode::<ToldLeaders>(told).ok());
        let mut leaders = Leaders::new();
        for (partition, led) in told.flat_map(|told| partitions.iter().zip(told)) {
            let Some((leader, epoch)) = led else { continue };
            let known = leaders.entry(*partition).or_insert((leader, epoch));
            if known.1 < epoch {
                *known = (leader, epoch);
            }
        }
        leaders
    }

    /// The answers of those live peers that give one in time.
    async fn ask_all(&self, kind: u8, body: Bytes) -> Vec<Bytes> {
        let peers = self.alive().into_iter().filter(|broker| *broker != self.inner.broker);
        let calls =
            peers.map(|peer| self.inner.node.call(node_of(peer), kind, body.clone(), HEAR_WAIT));
        // Whoever does not answer is alive as far as is known, or not: what counts is what was heard.
        join_all(calls).await.into_iter().flatten().collect()
    }

    /// Answers a call of [`CALL_HEAR`].
    pub(super) fn tell(&self) -> Bytes {
        let term = self.inner.status.borrow().term;
        let controller = self.controller().map(|leader| (leader, term));
        encode(&Told { alive: self.alive(), controller }).into()
    }

    /// Answers a call of [`CALL_LEADERS`].
    pub(super) fn tell_leaders(&self, body: &[u8]) -> Result<Bytes, CallError> {
        if body.len() > QUESTION_BYTES_MAX {
            return Err(CallError::TooLarge(body.len()));
        }
        let asked: Vec<(TopicId, PartitionIndex)> =
            decode(body).map_err(|error| CallError::Failed(error.to_string()))?;
        let alive = self.alive();
        let leader = |(topic, partition): (TopicId, PartitionIndex)| {
            self.leader_of(topic, partition).filter(|(leader, _)| alive.contains(leader))
        };
        let told: ToldLeaders = asked.into_iter().map(leader).collect();
        Ok(encode(&told).into())
    }

    /// Whether a broker is silent here and may be there all the same.
    fn may_be_cut_off(&self, broker: BrokerId) -> bool {
        let peers = self.inner.peers.borrow();
        peers.iter().any(|(node, peer)| broker_of(*node) == broker && is_silent(peer))
    }

    /// Whether any broker is silent here and may be there all the same.
    pub(super) fn misses_some(&self) -> bool {
        self.inner.peers.borrow().values().any(is_silent)
    }
}

/// Whether a peer is not heard, for a while, and nothing says that its process has ended.
fn is_silent(peer: &PeerStatus) -> bool {
    let lately = peer.last_seen.is_some_and(|seen| seen.elapsed() < SILENT_FOR);
    !peer.alive && !peer.refused && !lately
}
