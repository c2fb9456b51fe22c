//! Removes expired offsets, and groups of which nothing is left.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{ExpiryView, GroupState, StoreError, Term, expired_offsets};
use super::groups::Slot;
use super::{Inner, lock};

/// A group as it was when the sweep looked at it.
struct Candidate {
    id: Arc<str>,
    generation: i32,
    commits: u64,
    view: ExpiryView,
}

impl Candidate {
    /// Whether nothing has happened to the group since.
    fn is(&self, slot: &Slot) -> bool {
        slot.group.is_idle()
            && slot.group.generation() == self.generation
            && slot.commits == self.commits
    }
}

impl Inner {
    /// Sweeps whenever the timer says so; beside it, because members' deadlines do not wait.
    pub(super) async fn run_sweeps(&self) {
        loop {
            self.sweep_wake.notified().await;
            self.sweep().await;
        }
    }

    /// One pass over all groups. What cannot be removed now is left for the next.
    pub(super) async fn sweep(&self) {
        let Ok(term) = self.active_term() else { return };
        for shard in &self.shards {
            let candidates: Vec<Candidate> = lock(shard)
                .values()
                .map(|slot| Candidate {
                    id: slot.id.clone(),
                    generation: slot.group.generation(),
                    commits: slot.commits,
                    view: slot.group.expiry_view(),
                })
                .collect();
            for candidate in candidates {
                if let Err(error) = self.sweep_group(term, &candidate).await {
                    tracing::warn!(group = %candidate.id, %error, "sweep of expired offsets ended");
                    return;
                }
            }
        }
    }

    async fn sweep_group(&self, term: Term, candidate: &Candidate) -> Result<(), StoreError> {
        let Candidate { id, view, .. } = candidate;
        let may_expire = view.state == GroupState::Empty || view.subscribed.is_some();
        if !may_expire {
            return Ok(());
        }
        let offsets = self.store.offsets(term, id.clone()).await?;
        let retention_ms = self.options.offsets_retention_ms;
        let expired = expired_offsets(view, &offsets, self.clock.now(), retention_ms);
        let left = offsets.len() - expired.len();
        if !expired.is_empty() {
            tracing::info!(group = %id, count = expired.len(), "removing expired offsets");
            self.store.delete_offsets(term, id.clone(), expired).await?;
        }
        if left == 0 && view.state == GroupState::Empty && self.is_as_seen(term, candidate) {
            self.store.delete_group(term, id.clone(), candidate.generation).await?;
            self.forget(term, candidate);
        }
        Ok(())
    }

    fn is_as_seen(&self, term: Term, seen: &Candidate) -> bool {
        let shard = lock(self.shard_of(&seen.id));
        self.active_term() == Ok(term) && shard.get(&seen.id).is_some_and(|slot| seen.is(slot))
    }

    /// Drops the group from memory, unless it came back to life while it was removed below.
    fn forget(&self, term: Term, seen: &Candidate) {
        let mut shard = lock(self.shard_of(&seen.id));
        let unchanged = shard.get(&seen.id).is_some_and(|slot| seen.is(slot));
        if unchanged && self.active_term() == Ok(term) {
            shard.remove(&seen.id);
            self.groups.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
