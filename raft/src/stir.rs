//! What has changed since the last look at elections: it looks at that, and not at thousands of groups for each change
//! of one.
//!
//! **Invariant:** what is noted before a look begins is seen by it, or by the next.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::id::GroupId;

/// The groups at which a look is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stirred {
    Some(HashSet<GroupId>),
    All,
}

/// Told of every change that may matter to an election.
pub(crate) struct Stir {
    what: Mutex<Stirred>,
    wake: Notify,
}

impl Default for Stirred {
    fn default() -> Self {
        Self::Some(HashSet::new())
    }
}

impl Default for Stir {
    /// At the start nothing has been looked at.
    fn default() -> Self {
        Self { what: Mutex::new(Stirred::All), wake: Notify::new() }
    }
}

impl Stir {
    /// A peer has changed, and with it what is known of any group.
    pub(crate) fn all(&self) {
        *self.what() = Stirred::All;
        self.wake.notify_one();
    }

    pub(crate) fn group(&self, id: GroupId) {
        self.groups([id]);
    }

    pub(crate) fn groups(&self, ids: impl IntoIterator<Item = GroupId>) {
        if let Stirred::Some(groups) = &mut *self.what() {
            groups.extend(ids);
        }
        self.wake.notify_one();
    }

    /// Resolves once something has changed since it did so last.
    pub(crate) async fn stirred(&self) {
        self.wake.notified().await;
    }

    /// What has changed since the last call.
    pub(crate) fn take(&self) -> Stirred {
        std::mem::take(&mut *self.what())
    }

    fn what(&self) -> MutexGuard<'_, Stirred> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: GroupId = GroupId { topic: 7, partition: 1 };
    const TWO: GroupId = GroupId { topic: 7, partition: 2 };

    #[tokio::test]
    async fn each_change_is_told_once_and_a_peer_stands_for_all_groups() {
        let stir = Stir::default();
        assert_eq!(stir.take(), Stirred::All, "nothing has been looked at");
        stir.group(ONE);
        stir.groups([TWO, ONE]);
        stir.stirred().await;
        assert_eq!(stir.take(), Stirred::Some([ONE, TWO].into()));
        assert_eq!(stir.take(), Stirred::default());
        stir.group(ONE);
        stir.all();
        stir.group(TWO);
        assert_eq!(stir.take(), Stirred::All);
    }
}
