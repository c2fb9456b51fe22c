//! The groups open on this node.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::RaftError;
use crate::group::Group;
use crate::id::GroupId;

#[derive(Default)]
struct State {
    open: HashMap<GroupId, Group>,
    opening: HashSet<GroupId>,
    /// Open, and not to be found by peers yet.
    hidden: HashMap<GroupId, Group>,
    waiting: HashMap<GroupId, Vec<oneshot::Sender<Group>>>,
    closed: bool,
}

impl State {
    fn show(&mut self, id: GroupId, group: Group) {
        for waiter in self.waiting.remove(&id).unwrap_or_default() {
            let _ = waiter.send(group.clone());
        }
        self.open.insert(id, group);
    }
}

/// Finds groups, and lets a peer's request wait for one that is about to open: a topic's leader
/// may campaign before every replica has opened its log.
#[derive(Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Group> {
        self.state().open.get(&id).cloned()
    }

    /// Whether the group is open, hidden or not.
    pub(crate) fn knows(&self, id: GroupId) -> bool {
        let state = self.state();
        state.open.contains_key(&id) || state.hidden.contains_key(&id)
    }

    /// Those of `ids` that are open.
    pub(crate) fn open_of(&self, ids: impl IntoIterator<Item = GroupId>) -> Vec<Group> {
        let state = self.state();
        ids.into_iter().filter_map(|id| state.open.get(&id).cloned()).collect()
    }

    pub(crate) fn all(&self) -> Vec<Group> {
        self.state().open.values().cloned().collect()
    }

    /// The group, once it is open; `None` where it does not open within `wait`.
    pub(crate) async fn wait(&self, id: GroupId, wait: Duration) -> Option<Group> {
        let receiver = {
            let mut state = self.state();
            if let Some(group) = state.open.get(&id) {
                return Some(group.clone());
            }
            let (sender, receiver) = oneshot::channel();
            let waiting = state.waiting.entry(id).or_default();
            waiting.retain(|sender| !sender.is_closed());
            waiting.push(sender);
            receiver
        };
        let found = tokio::time::timeout(wait, receiver).await;
        if found.is_err() {
            let mut state = self.state();
            if let Some(waiting) = state.waiting.get_mut(&id) {
                waiting.retain(|sender| !sender.is_closed());
                if waiting.is_empty() {
                    state.waiting.remove(&id);
                }
            }
        }
        found.ok()?.ok()
    }

    /// Claims an id before its group is built.
    pub(crate) fn claim(&self, id: GroupId) -> Result<Claim<'_>, RaftError> {
        let mut state = self.state();
        if state.closed {
            return Err(RaftError::Shutdown);
        }
        let is_open = state.open.contains_key(&id) || state.hidden.contains_key(&id);
        if is_open || !state.opening.insert(id) {
            return Err(RaftError::Open(id));
        }
        Ok(Claim { registry: self, id })
    }

    pub(crate) fn remove(&self, id: GroupId) -> Option<Group> {
        let mut state = self.state();
        state.open.remove(&id).or_else(|| state.hidden.remove(&id))
    }

    /// Lets peers find a hidden group; false where it was removed meanwhile.
    pub(crate) fn show(&self, id: GroupId) -> bool {
        let mut state = self.state();
        let Some(group) = state.hidden.remove(&id) else { return false };
        state.show(id, group);
        true
    }

    /// Refuses further groups; those that were open.
    pub(crate) fn close(&self) -> Vec<Group> {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        let State { open, hidden, .. } = &mut *state;
        open.drain().chain(hidden.drain()).map(|(_, group)| group).collect()
    }
}

/// An id whose group is being built. Dropping it gives the id up.
pub(crate) struct Claim<'a> {
    registry: &'a Registry,
    id: GroupId,
}

impl Claim<'_> {
    /// The group is ready; whoever waits for it gets it. Hands it back where the registry closed.
    pub(crate) fn opened(self, group: Group) -> Result<(), Group> {
        let mut state = self.registry.state();
        if state.closed {
            return Err(group);
        }
        state.show(self.id, group);
        Ok(())
    }

    /// As [`Claim::opened`], but that peers do not find it before [`Registry::show`].
    pub(crate) fn opened_hidden(self, group: Group) -> Result<(), Group> {
        let mut state = self.registry.state();
        if state.closed {
            return Err(group);
        }
        state.hidden.insert(self.id, group);
        Ok(())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.registry.state().opening.remove(&self.id);
    }
}
