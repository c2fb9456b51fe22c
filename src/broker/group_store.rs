//! Consumer groups and their offsets, kept in the metadata group.
//!
//! **Invariant:** every write carries the term in which the coordinator decided it, and counts only in
//! that term; it is proposed on this node and never forwarded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::group;
use crate::group::{GroupStore, Loaded, StoreError, Term, TopicLookup};
use crate::metadata::record;
use crate::metadata::{Command, CommandReply, Metadata, MetadataError, Refusal};
use crate::model::mutant;
use crate::model::{TopicId, TopicPartition};

/// Longest wait for a write; longer than an election, so that only a lost quorum runs into it.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// [`GroupStore`] and [`TopicLookup`] over the metadata group.
#[derive(Clone)]
pub(super) struct MetadataGroups(pub(super) Metadata);

fn store_error(error: &MetadataError) -> StoreError {
    match error {
        MetadataError::NotController | MetadataError::Closed => StoreError::NotCoordinator,
        MetadataError::Unavailable => StoreError::Unavailable,
        MetadataError::Timeout
        | MetadataError::Uncertain
        | MetadataError::Codec(_)
        | MetadataError::Raft(_)
        | MetadataError::Config(_)
        | MetadataError::Io(_) => StoreError::Uncertain,
    }
}

impl MetadataGroups {
    async fn write(self, term: Term, command: Command) -> Result<CommandReply, StoreError> {
        let proposed = self.0.propose_local(term.0, command, WRITE_WAIT).await;
        match proposed.map_err(|error| store_error(&error))? {
            CommandReply::Refused(Refusal::Fenced) => Err(StoreError::NotCoordinator),
            reply => Ok(reply),
        }
    }
}

impl GroupStore for MetadataGroups {
    fn is_current(&self) -> bool {
        self.0.group().is_confirmed()
    }

    fn load_all(&self, term: Term) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let this = self.clone();
        Box::pin(async move {
            this.0.read_barrier(term.0).await.map_err(|error| store_error(&error))?;
            Ok(this.0.with_state(|state| Loaded {
                groups: state.groups().map(|stored| group_in(&stored.record)).collect(),
                offset_only: state
                    .all_offsets()
                    .filter(|(group, _)| state.group(group).is_none())
                    .map(|(group, _)| Arc::from(group))
                    .collect(),
            }))
        })
    }

    fn put_group(
        &self,
        term: Term,
        record: group::GroupRecord,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        // The term fences: the coordinator has one write per group under way.
        let command = Command::PutGroup { record: group_out(&record), expected: None };
        let write = self.clone().write(term, command);
        Box::pin(async move { write.await.map(drop) })
    }

    fn delete_group(
        &self,
        term: Term,
        group: Arc<str>,
        generation: i32,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let command = Command::DeleteGroup {
            group: group.to_string(),
            generation: Some(generation),
            with_offsets: false,
        };
        // Refused where the group has moved on meanwhile: then it stays, which is what is asked for.
        let write = self.clone().write(term, command);
        Box::pin(async move { write.await.map(drop) })
    }

    fn commit_offsets(
        &self,
        term: Term,
        batch: Vec<group::OffsetCommit>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let commits = batch.into_iter().map(commit_out).collect();
        let write = self.clone().write(term, Command::CommitOffsets(commits));
        if mutant::is_on("offset-commit-not-awaited") {
            drop(tokio::spawn(write));
            return Box::pin(async { Ok(()) });
        }
        Box::pin(async move { write.await.map(drop) })
    }

    fn delete_offsets(
        &self,
        term: Term,
        group: Arc<str>,
        entries: Vec<group::OffsetEntry>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let offsets = entries
            .into_iter()
            .map(|entry| (key_out(&entry.partition), Some(committed_out(entry.committed))))
            .collect();
        let command = Command::DeleteOffsets { group: group.to_string(), offsets };
        let write = self.clone().write(term, command);
        Box::pin(async move { write.await.map(drop) })
    }

    fn offsets(
        &self,
        term: Term,
        group: Arc<str>,
    ) -> BoxFuture<'static, Result<Vec<group::OffsetEntry>, StoreError>> {
        let this = self.clone();
        Box::pin(async move {
            this.0.read_barrier(term.0).await.map_err(|error| store_error(&error))?;
            let entry = |(key, committed): (&record::OffsetKey, &record::CommittedOffset)| {
                group::OffsetEntry {
                    partition: TopicPartition::new(key.topic.as_str(), key.partition),
                    committed: committed_in(committed),
                }
            };
            Ok(this.0.with_state(|state| {
                state.offsets(&group).into_iter().flatten().map(entry).collect()
            }))
        })
    }
}

impl TopicLookup for MetadataGroups {
    fn partition_count(&self, topic: &str) -> Option<i32> {
        let image = self.0.image();
        image.topic(topic).map(|topic| topic.partitions.len() as i32)
    }

    fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.0.image().topic(topic).map(|topic| topic.id)
    }

    fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        self.0.image().topic_by_id(id).map(|topic| Arc::clone(&topic.name))
    }
}

fn committed_in(committed: &record::CommittedOffset) -> group::CommittedOffset {
    group::CommittedOffset {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.as_str().into(),
        committed_at: committed.committed_at,
    }
}

fn committed_out(committed: group::CommittedOffset) -> record::CommittedOffset {
    record::CommittedOffset {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.to_string(),
        committed_at: committed.committed_at,
    }
}

fn key_out(partition: &TopicPartition) -> record::OffsetKey {
    record::OffsetKey { topic: partition.topic.to_string(), partition: partition.partition }
}

fn commit_out(commit: group::OffsetCommit) -> record::GroupCommit {
    let offsets = commit.offsets.into_iter().map(|entry| record::OffsetCommit {
        topic: entry.partition.topic.to_string(),
        topic_id: TopicId::ZERO,
        partition: entry.partition.partition,
        committed: committed_out(entry.committed),
    });
    record::GroupCommit { group: commit.group.to_string(), offsets: offsets.collect() }
}

fn group_in(stored: &record::GroupRecord) -> group::GroupRecord {
    let text = |text: &String| Arc::from(text.as_str());
    group::GroupRecord {
        group: text(&stored.group),
        protocol_type: stored.protocol_type.as_ref().map(text),
        generation: stored.generation,
        protocol: stored.protocol.as_ref().map(text),
        leader: stored.leader.as_ref().map(text),
        assigned: stored.assigned,
        state_since: stored.state_since,
        members: stored.members.iter().map(member_in).collect(),
    }
}

fn member_in(stored: &record::MemberRecord) -> group::MemberRecord {
    group::MemberRecord {
        id: stored.id.as_str().into(),
        instance_id: stored.instance_id.as_deref().map(Arc::from),
        client_id: stored.client_id.as_str().into(),
        client_host: stored.client_host.as_str().into(),
        session_timeout_ms: stored.session_timeout_ms,
        rebalance_timeout_ms: stored.rebalance_timeout_ms,
        subscription: Bytes::copy_from_slice(&stored.subscription),
        assignment: Bytes::copy_from_slice(&stored.assignment),
    }
}

fn group_out(group: &group::GroupRecord) -> record::GroupRecord {
    let text = |text: &Arc<str>| text.to_string();
    record::GroupRecord {
        group: text(&group.group),
        protocol_type: group.protocol_type.as_ref().map(text),
        generation: group.generation,
        protocol: group.protocol.as_ref().map(text),
        leader: group.leader.as_ref().map(text),
        assigned: group.assigned,
        state_since: group.state_since,
        members: group.members.iter().map(member_out).collect(),
    }
}

fn member_out(member: &group::MemberRecord) -> record::MemberRecord {
    record::MemberRecord {
        id: member.id.to_string(),
        instance_id: member.instance_id.as_ref().map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        session_timeout_ms: member.session_timeout_ms,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        subscription: member.subscription.to_vec(),
        assignment: member.assignment.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_group_survives_the_way_to_its_record_and_back() {
        let member = group::MemberRecord {
            id: "m-1".into(),
            instance_id: Some("static".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 10,
            rebalance_timeout_ms: 20,
            subscription: Bytes::from("subscription"),
            assignment: Bytes::from("assignment"),
        };
        let group = group::GroupRecord {
            group: "g".into(),
            protocol_type: Some("consumer".into()),
            generation: 4,
            protocol: Some("range".into()),
            leader: Some("m-1".into()),
            assigned: true,
            state_since: Timestamp(5),
            members: vec![member],
        };
        assert_eq!(group_in(&group_out(&group)), group);
    }
}
