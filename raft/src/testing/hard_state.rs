//! Hard state in memory.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use crate::id::{GroupId, LogId};
use crate::port::HardStateStore;
use crate::vote::{HardState, Vote};

/// A [`HardStateStore`] in memory: survives its node, not the process.
#[derive(Debug, Default)]
pub struct MemHardState {
    groups: Mutex<HashMap<GroupId, HardState>>,
    is_full: AtomicBool,
    refused: AtomicUsize,
}

impl MemHardState {
    fn groups(&self) -> MutexGuard<'_, HashMap<GroupId, HardState>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no room for votes.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Release);
    }

    /// How many votes found no room.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Acquire)
    }
}

impl HardStateStore for MemHardState {
    fn load(&self, group: GroupId) -> io::Result<HardState> {
        Ok(self.groups().get(&group).copied().unwrap_or_default())
    }

    fn save_vote(&self, group: GroupId, vote: Vote) -> BoxFuture<'static, io::Result<()>> {
        if self.is_full.load(Ordering::Acquire) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return Box::pin(std::future::ready(Err(io::ErrorKind::StorageFull.into())));
        }
        self.groups().entry(group).or_default().vote = Some(vote);
        Box::pin(std::future::ready(Ok(())))
    }

    fn save_committed(&self, group: GroupId, committed: Option<LogId>) {
        self.groups().entry(group).or_default().committed = committed;
    }

    fn save_refilling(
        &self,
        group: GroupId,
        refilling: bool,
    ) -> BoxFuture<'static, io::Result<()>> {
        {
            let mut groups = self.groups();
            let state = groups.entry(group).or_default();
            state.refilling = refilling;
            state.committed = state.committed.filter(|_| !refilling);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn save_unproven(&self, group: GroupId, unproven: bool) -> BoxFuture<'static, io::Result<()>> {
        self.groups().entry(group).or_default().unproven = unproven;
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget(&self, group: GroupId) -> BoxFuture<'static, io::Result<()>> {
        self.groups().remove(&group);
        Box::pin(std::future::ready(Ok(())))
    }
}
