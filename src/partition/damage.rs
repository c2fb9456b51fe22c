//! What a running replica found to be damaged in its own log.
//!
//! **Invariant:** a finding stays until the replica is closed: a log is not trusted again because a
//! later read went well.

use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

use jackdaw_raft::NodeId;
use tokio::sync::Notify;

use super::replica::Partition;
use crate::storage::{LogError, ReadWatch};

/// The first damage that was found, and who is to be woken for it.
#[derive(Debug, Default)]
pub(super) struct Damage {
    found: OnceLock<String>,
    wake: Arc<Notify>,
}

impl Damage {
    /// Nothing found yet.
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { found: OnceLock::new(), wake }
    }

    /// What was found.
    pub(super) fn found(&self) -> Option<String> {
        self.found.get().cloned()
    }

    /// Takes note of an outcome, and gives it back.
    pub(super) fn check<T>(&self, outcome: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &outcome {
            self.failed(error);
        }
        outcome
    }
}

impl ReadWatch for Damage {
    fn failed(&self, error: &LogError) {
        if error.is_damage() && self.found.set(error.to_string()).is_ok() {
            tracing::error!(%error, "a replica's log is damaged");
            self.wake.notify_one();
        }
    }
}

impl Partition {
    /// What is damaged in the log here, if a read has come across it.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.damage.found()
    }

    /// Sees to it that another replica leads; whether one does. This one goes on as before.
    pub async fn hand_over(&self) -> bool {
        let status = self.group().status().borrow();
        if status.is_leader {
            let peers = self.node.peers();
            let is_able = |node: &&NodeId| {
                let is_alive = peers.borrow().get(*node).is_some_and(|peer| peer.alive);
                is_alive && !self.node.is_refilling(self.group().id(), **node)
            };
            let mut others: Vec<_> = status.voters.iter().filter(is_able).collect();
            others.sort_by_key(|node| Reverse(status.replication.get(node)));
            for to in others {
                match self.group().transfer_leader(*to).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(partition = %self.name(), %to, %error, "does not take over");
                    }
                }
            }
        }
        self.leader().is_some_and(|(leader, _)| leader != self.node.id())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[tokio::test]
    async fn the_first_damage_stays_and_wakes_once() {
        let wake = Arc::new(Notify::new());
        let damage = Damage::new(wake.clone());
        let corrupt =
            |position| LogError::Corrupt { path: PathBuf::from("x"), position, what: "CRC".into() };
        assert!(damage.check(Ok(1)).is_ok());
        let other = LogError::Failed { path: PathBuf::from("x") };
        assert!(damage.check::<()>(Err(other)).is_err());
        assert_eq!(damage.found.get(), None);
        assert!(damage.check::<()>(Err(corrupt(1))).is_err());
        assert!(damage.check::<()>(Err(corrupt(2))).is_err());
        assert!(damage.found.get().is_some_and(|found| found.contains("byte 1")));
        wake.notified().await;
    }
}
