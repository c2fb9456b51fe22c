//! Gaining and losing the coordinator's role.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::super::{ClassicGroup, Effects, GroupError, Loaded, StoreError, Term};
use super::groups::Slot;
use super::{Inner, lock};

/// Between attempts to load the groups while the store is unavailable.
const LOAD_RETRY: Duration = Duration::from_millis(100);
/// Between two looks whether this node still coordinates for sure, and after how many in vain it takes itself for cut off:
/// a pause of the process, or of its disk, is none.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOKS_MAX: u32 = 4;

/// What this node is to the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Another node coordinates, or none.
    Away,
    /// This node will coordinate once it has loaded the groups.
    Loading(Term),
    /// This node coordinates.
    Active(Term),
}

impl Inner {
    /// The term to act in.
    pub(super) fn active_term(&self) -> Result<Term, GroupError> {
        match *lock(&self.role) {
            Role::Active(term) => Ok(term),
            Role::Loading(_) => Err(GroupError::CoordinatorLoadInProgress),
            Role::Away => Err(GroupError::NotCoordinator),
        }
    }

    /// The same, where what is in memory bears upon the answer: a coordinator that was paused or cut off may have been
    /// replaced without knowing, and who asks is to look for the other one.
    pub(super) fn current_term(&self) -> Result<Term, GroupError> {
        let term = self.active_term()?;
        if self.store.is_current() { Ok(term) } else { Err(GroupError::NotCoordinator) }
    }

    pub(super) async fn follow_role(&self, mut leading: watch::Receiver<Option<Term>>) {
        loop {
            let term = *leading.borrow_and_update();
            self.resign();
            if let Some(term) = term {
                // A change of the term interrupts the loading.
                tokio::select! {
                    biased;
                    changed = leading.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    () = self.lead(term) => {}
                }
            }
            let changed = tokio::select! {
                changed = leading.changed() => changed,
                never = self.look_out() => match never {},
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Notices while the role is active that this node is cut off, and that it no longer is.
    async fn look_out(&self) -> Infallible {
        let mut in_vain = 0;
        loop {
            if self.active_term().is_err() {
                return std::future::pending().await;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            in_vain = if self.store.is_current() { 0 } else { in_vain + 1 };
            self.set_cut_off(in_vain >= LOOKS_MAX);
        }
    }

    fn set_cut_off(&self, is_cut_off: bool) {
        let changed =
            self.cut_off.send_if_modified(|was| std::mem::replace(was, is_cut_off) != is_cut_off);
        if changed && is_cut_off {
            tracing::warn!(
                "no majority is heard: whoever waits for this coordinator is sent to look for another"
            );
        }
    }

    /// What `answer` resolves to, unless this node is cut off before.
    pub(super) async fn unless_cut_off<T>(
        &self,
        answer: impl Future<Output = T>,
    ) -> Result<T, GroupError> {
        let mut cut_off = self.cut_off.subscribe();
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            // The sender is as old as this.
            _ = cut_off.wait_for(|cut_off| *cut_off) => Err(GroupError::NotCoordinator),
        }
    }

    /// Loads the groups and takes the role, unless the term ends before.
    pub(super) async fn lead(&self, term: Term) {
        *lock(&self.role) = Role::Loading(term);
        loop {
            match self.store.load_all(term).await {
                Ok(loaded) => return self.take_role(term, loaded),
                Err(StoreError::NotCoordinator) => return,
                Err(error) => {
                    tracing::warn!(term = term.0, %error, "cannot load the groups, trying again");
                    tokio::time::sleep(LOAD_RETRY).await;
                }
            }
        }
    }

    fn take_role(&self, term: Term, loaded: Loaded) {
        let now = self.now();
        let count = loaded.groups.len() + loaded.offset_only.len();
        for record in loaded.groups {
            let id = record.group.clone();
            self.install(Slot::new(id, ClassicGroup::load(record, self.options.clone(), now)));
        }
        for id in loaded.offset_only {
            let group = ClassicGroup::load_offsets_only(id.clone(), self.options.clone(), now);
            self.install(Slot::new(id, group));
        }
        let mut role = lock(&self.role);
        if *role == Role::Loading(term) {
            *role = Role::Active(term);
            drop(role);
            lock(&self.timers).sweep_at = Some(self.next_sweep());
            self.timer_wake.notify_one();
            tracing::info!(term = term.0, groups = count, "coordinating the groups");
        }
    }

    fn install(&self, mut slot: Slot) {
        let mut shard = lock(self.shard_of(&slot.id));
        self.arm_timer(&mut slot);
        if shard.insert(slot.id.clone(), slot).is_none() {
            self.groups.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the role up: forgets everything volatile and sends whoever waits elsewhere.
    pub(super) fn resign(&self) {
        let was = std::mem::replace(&mut *lock(&self.role), Role::Away);
        let now = self.now();
        for shard in &self.shards {
            for (_, slot) in lock(shard).drain() {
                let Slot { group, mut waiting, .. } = slot;
                let mut fx = Effects::default();
                group.abandon(now, &mut fx);
                waiting.answer(&mut fx);
            }
        }
        self.groups.store(0, Ordering::Relaxed);
        lock(&self.timers).clear();
        self.set_cut_off(false);
        lock(&self.commits).refuse_all();
        if let Role::Active(term) = was {
            tracing::info!(term = term.0, "no longer coordinating the groups");
        }
    }
}
