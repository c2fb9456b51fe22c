//! Offset commits: checked under the group's lock, stored many at a time.
//!
//! **Invariant:** commits are stored in the order in which they were admitted, and answered after.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::super::{
    CommitItem, CommitRequest, CommittedOffset, GroupError, OffsetCommit, OffsetEntry, Term,
};
use super::groups::validate_stored_id;
use super::{Coordinator, Inner, lock};
use crate::model::Timestamp;

#[derive(Default)]
pub(super) struct CommitQueue(VecDeque<Queued>);

struct Queued {
    term: Term,
    commit: OffsetCommit,
    done: oneshot::Sender<Result<(), GroupError>>,
}

impl CommitQueue {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn refuse_all(&mut self) {
        for queued in self.0.drain(..) {
            // A requester that has gone needs no answer.
            let _gone = queued.done.send(Err(GroupError::NotCoordinator));
        }
    }

    /// The oldest commits of one term: at most `offsets_max` positions, but at least one commit.
    fn take_batch(&mut self, offsets_max: usize) -> Vec<Queued> {
        let mut batch: Vec<Queued> = Vec::new();
        let mut offsets = 0;
        while let Some(next) = self.0.front() {
            let term = batch.first().map_or(next.term, |first| first.term);
            let total = offsets + next.commit.offsets.len();
            if next.term != term || (!batch.is_empty() && total > offsets_max) {
                break;
            }
            offsets = total;
            batch.extend(self.0.pop_front());
        }
        batch
    }
}

impl Coordinator {
    /// OffsetCommit: one outcome per item, in order. Resolves when the store has them.
    ///
    /// # Errors
    /// What concerns all items: membership, role, the store.
    pub async fn commit(
        &self,
        group: &str,
        request: CommitRequest,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let inner = &self.0;
        validate_stored_id(group)?;
        let outcomes: Vec<_> = request.items.iter().map(|item| inner.check_item(item)).collect();
        let accepted: Vec<CommitItem> = request
            .items
            .into_iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(item, _)| item)
            .collect();
        if accepted.is_empty() {
            inner.current_term()?;
            return Ok(outcomes);
        }
        let (done, stored) = oneshot::channel();
        let claim = &request.claim;
        let is_simple = claim.generation < 0;
        inner
            .with_group(group, is_simple, |slot, now, _| {
                slot.group.admit_commit(claim, now)?;
                // Something is stored of it from now on.
                slot.group.keep();
                slot.commits += 1;
                let offsets = accepted.into_iter().map(|item| entry(item, now.wall)).collect();
                inner.enqueue(OffsetCommit { group: slot.id.clone(), offsets }, done)
            })
            .map_err(|error| match error {
                GroupError::UnknownMemberId if request.names_unknown_group => {
                    GroupError::GroupIdNotFound
                }
                GroupError::UnknownMemberId => GroupError::IllegalGeneration,
                other => other,
            })??;
        let stored = inner.unless_cut_off(stored).await?;
        stored.unwrap_or(Err(GroupError::CoordinatorNotAvailable))?;
        Ok(outcomes)
    }
}

impl Inner {
    fn check_item(&self, item: &CommitItem) -> Result<(), GroupError> {
        let partitions = self.topics.partition_count(&item.partition.topic).unwrap_or(0);
        if !(0..partitions).contains(&item.partition.partition.0) {
            return Err(GroupError::UnknownTopicOrPartition);
        }
        if item.metadata.len() > self.options.offset_metadata_bytes_max {
            return Err(GroupError::OffsetMetadataTooLarge);
        }
        Ok(())
    }

    /// Called under the group's shard lock, with the role active.
    fn enqueue(
        &self,
        commit: OffsetCommit,
        done: oneshot::Sender<Result<(), GroupError>>,
    ) -> Result<(), GroupError> {
        let term = self.active_term()?;
        lock(&self.commits).0.push_back(Queued { term, commit, done });
        self.commit_wake.notify_one();
        Ok(())
    }

    pub(super) async fn run_commits(&self) {
        loop {
            while self.store_next_batch().await {}
            self.commit_wake.notified().await;
        }
    }

    /// Stores what is queued, up to one batch; false if nothing was.
    pub(super) async fn store_next_batch(&self) -> bool {
        let batch = lock(&self.commits).take_batch(self.options.commit_batch_max);
        let Some(term) = batch.first().map(|queued| queued.term) else { return false };
        let (commits, waiting): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|queued| (queued.commit, queued.done)).unzip();
        let outcome = self.store.commit_offsets(term, commits).await;
        if let Err(error) = outcome {
            tracing::warn!(commits = waiting.len(), %error, "offsets were not committed");
        }
        for done in waiting {
            // A requester that has gone needs no answer.
            let _gone = done.send(outcome.map_err(GroupError::from));
        }
        true
    }
}

fn entry(item: CommitItem, committed_at: Timestamp) -> OffsetEntry {
    let CommitItem { partition, offset, leader_epoch, metadata } = item;
    let committed = CommittedOffset { offset, leader_epoch, metadata, committed_at };
    OffsetEntry { partition, committed }
}
