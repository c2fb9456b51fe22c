//! Elections that somebody asks for: the leader of each partition hands over to the preferred one.
//!
//! Whoever is asked passes each partition on to the node that leads it, and asks again where that node
//! has just lost it.
//!
//! **Invariant:** a few partitions change hands at a time, and each has its own answer: a deadline that
//! passes meanwhile is the answer of those that it cut off.
//! Deliberately elsewhere: whether a replica could take over (crate `jackdaw-raft`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use jackdaw_raft::{CallError, GroupId, HandoverError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::command::{decode, encode};
use super::handle::{Metadata, node_of, partition_group};
use crate::model::{PartitionIndex, TopicId};

/// The kind of a call that asks a partition's leader to hand over; the body is the group's id.
pub const CALL_ELECT: u8 = 2;

/// Partitions that change hands at the same time.
const AT_ONCE: usize = 16;
/// How long to wait before asking again where the leader known here did not change, but refused or could
/// not be reached.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The preferred replica of a partition was not made to lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ElectionError {
    /// The image has no such partition.
    #[error("There is no such partition.")]
    UnknownPartition,
    /// It leads already.
    #[error("The preferred replica leads.")]
    NotNeeded,
    /// It could not take over, for this reason.
    #[error("The preferred replica cannot lead: {0}.")]
    NotAvailable(String),
    /// It did not come to lead in time, and may yet.
    #[error("The preferred replica did not lead in time.")]
    TimedOut,
}

/// What became of each partition.
pub type Elections = BTreeMap<(TopicId, PartitionIndex), Result<(), ElectionError>>;

/// What travels back; `None` from a node that does not lead the partition.
type CallAnswer = Option<Result<(), ElectionError>>;

impl Metadata {
    /// Has the preferred replica of each partition lead it, where it can within `timeout`.
    pub async fn elect_preferred(
        &self,
        partitions: BTreeSet<(TopicId, PartitionIndex)>,
        timeout: Duration,
    ) -> Elections {
        let deadline = Instant::now() + timeout;
        let elect = |partition| async move {
            let elected = timeout_at(deadline, self.elect_one(partition, deadline)).await;
            (partition, elected.unwrap_or(Err(ElectionError::TimedOut)))
        };
        futures_util::stream::iter(partitions).map(elect).buffer_unordered(AT_ONCE).collect().await
    }

    async fn elect_one(
        &self,
        (topic, index): (TopicId, PartitionIndex),
        deadline: Instant,
    ) -> Result<(), ElectionError> {
        let replicas = self.image().topic_by_id(topic).and_then(|topic| {
            let preferred = topic.replicas(index)?.first().copied()?;
            Some((partition_group(topic.id, index), preferred))
        });
        let (group, preferred) = replicas.ok_or(ElectionError::UnknownPartition)?;
        let mut leaderships = self.leadership_version();
        loop {
            leaderships.borrow_and_update();
            let leader = match self.leader_of(topic, index) {
                None => {
                    return Err(ElectionError::NotAvailable(
                        "no replica leads the partition".into(),
                    ));
                }
                Some((leader, _)) if leader == preferred => return Err(ElectionError::NotNeeded),
                Some((leader, _)) => node_of(leader),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ElectionError::TimedOut);
            }
            match self.inner.node.call(leader, CALL_ELECT, body_of(group), left).await {
                Ok(answer) => match decode::<CallAnswer>(&answer) {
                    Ok(Some(answer)) => return answer,
                    Ok(None) => {}
                    Err(error) => return Err(ElectionError::NotAvailable(error.to_string())),
                },
                Err(error) => tracing::debug!(%group, %leader, %error, "the leader did not answer"),
            }
            // An answer that was lost is safe to ask for again: a leader that has handed over says so.
            // Only the sender's end is an error, which the deadline covers.
            drop(tokio::time::timeout(RETRY_INTERVAL, leaderships.changed()).await);
        }
    }

    /// Answers a call of [`CALL_ELECT`]: hands over, if this node leads.
    pub(super) async fn answer_election(&self, body: Bytes) -> Result<Bytes, CallError> {
        let group = <[u8; GroupId::LEN]>::try_from(&body[..]).map(GroupId::from_bytes);
        let group = group.map_err(|_| CallError::Failed("a group id of another length".into()))?;
        let handed = self.inner.node.hand_to_preferred(group).await;
        Ok(encode(&answer(handed)).into())
    }
}

fn body_of(group: GroupId) -> Bytes {
    Bytes::copy_from_slice(&group.to_bytes())
}

fn answer(handed: Result<(), HandoverError>) -> CallAnswer {
    match handed {
        Ok(()) => Some(Ok(())),
        Err(HandoverError::NotLeader) => None,
        Err(HandoverError::NotNeeded) => Some(Err(ElectionError::NotNeeded)),
        Err(
            error @ (HandoverError::Unreachable(_)
            | HandoverError::Leaving(_)
            | HandoverError::Refilling(_)
            | HandoverError::Behind { .. }
            | HandoverError::NoVoter(_)
            | HandoverError::Failed(_)),
        ) => Some(Err(ElectionError::NotAvailable(error.to_string()))),
    }
}
