//! Replicas whose logs are damaged or gone: set aside, and got back from the other nodes.
//!
//! ```text
//! damage, when opened ───────────────────────────────────────┐
//! damage, by a read ─► another replica leads ─► closed here ─┴─► folder set aside
//!                            ─► opened with an empty log ─► refilled by its group, without a vote
//! ```
//! Until another replica leads, one with damage stays: what can be read of it is served, and its vote
//! counts, unless Raft itself has come upon the damage and ended its group.
//!
//! A replica that cannot be opened for a reason that may pass (a full disk) is no case for any of this: it
//! is tried again by itself.
//!
//! Nothing of this is noted anywhere: a crash before the folder is set aside finds the damage again, and
//! after it there is a vote without a log, which the group takes for what it is.
//!
//! **Invariant:** a damaged folder is moved, never deleted.
//! **Invariant:** a partition's only replica stays where it is, and never begins anew.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use anyhow::{Result, bail};
use jackdaw_raft::{HardStateStore as _, Suffrage};

use super::lock;
use super::reconciler::{Assigned, Reconciler};
use super::short_logs::advice;
use crate::admin::{QuarantineState, QuarantineView};
use crate::metadata::{MetadataImage, partition_group};
use crate::model::{PartitionIndex, TopicId, TopicPartition};
use crate::partition::{OpenError, Partition, PartitionSet};
use crate::storage::{self, LogError};

/// What is wrong with a replica of this node.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) name: TopicPartition,
    pub(super) reason: String,
    /// It could not be opened.
    pub(super) is_out: bool,
    /// The reason may pass by itself: it is tried again. Otherwise not until a restart.
    pub(super) may_pass: bool,
    /// How often its log was set aside since the start.
    set_aside: u32,
}

/// Why a replica that may have forgotten a vote takes no part.
pub(super) const VOTES_LOST: &str = "this node's votes were lost, and it waits to hear from all other \
                                     replicas where they stand: start the nodes that are down";

/// A log is got back so often between two starts: a broken disk must not be filled with copies.
const SET_ASIDE_MAX: u32 = 3;

/// Replicas that are or were in trouble.
pub(super) type Troubles = BTreeMap<(TopicId, PartitionIndex), Trouble>;

/// Whether an attempt to open a replica failed because its log is damaged.
fn is_damage(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::Damaged(_)) => true,
        Some(OpenError::Raft(_)) => false,
        None => error.downcast_ref::<LogError>().is_some_and(LogError::is_damage),
    }
}

/// Whether an attempt failed for a reason that may pass: a full disk, no file descriptor left.
fn may_pass(error: &anyhow::Error) -> bool {
    let of_log = error.downcast_ref::<LogError>();
    let of_system = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(storage::may_pass)
    };
    of_log.is_some_and(LogError::may_pass) || error.chain().any(of_system)
}

impl Reconciler {
    /// Makes room for a replica's log to be got back, if it is damaged and others have it.
    ///
    /// # Errors
    /// The reason why it stays as it is: `error`, and what is to be done about it.
    pub(super) async fn give_up_log(
        &self,
        assigned: &Assigned,
        error: anyhow::Error,
    ) -> Result<()> {
        if !is_damage(&error) {
            return Err(error);
        }
        let name = &assigned.name;
        let dir = self.data_dir.partition_dir(name);
        if assigned.replicas.len() == 1 {
            let restore = format!(
                "stop the node and restore {} from a copy, or delete the topic",
                dir.display()
            );
            let advice = match error.downcast_ref::<LogError>() {
                Some(error) => advice(error, &dir, restore),
                None => restore,
            };
            bail!("{error:#}; it is the only replica: {advice}");
        }
        let group = partition_group(assigned.topic, name.partition);
        let hard_state = self.hard_states.load(group)?;
        if hard_state.vote.is_none() && !hard_state.unproven {
            bail!(
                "{error:#}; this node does not know whether it has voted: if other nodes hold the \
                 partition, stop this one and move {} away",
                dir.display()
            );
        }
        self.set_damaged_aside(assigned, format!("{error:#}")).await
    }

    async fn set_damaged_aside(&self, assigned: &Assigned, reason: String) -> Result<()> {
        let dir = self.data_dir.partition_dir(&assigned.name);
        let key = (assigned.topic, assigned.name.partition);
        let before = lock(&self.troubles).get(&key).map_or(0, |trouble| trouble.set_aside);
        if before == SET_ASIDE_MAX {
            bail!("{reason}; it has been got back {before} times: look at the disk, then restart");
        }
        let (data_dir, why) = (Arc::clone(&self.data_dir), reason.clone());
        jackdaw_raft::apart(move || data_dir.set_aside(&dir, &why)).await??;
        let (name, set_aside) = (assigned.name.clone(), before + 1);
        let trouble = Trouble { name, reason, is_out: false, may_pass: false, set_aside };
        lock(&self.troubles).insert(key, trouble);
        Ok(())
    }

    /// Lets go of a running replica whose log is damaged, if another one leads, and opens it anew.
    /// Whether it came to that.
    pub(super) async fn repair(
        &self,
        image: &MetadataImage,
        partition: Arc<Partition>,
        assigned: Assigned,
    ) -> bool {
        let Some(reason) = partition.damage() else { return true };
        if !partition.hand_over().await {
            tracing::warn!(
                partition = %assigned.name,
                "its log is damaged, and stays until another replica leads"
            );
            return false;
        }
        self.partitions.remove(assigned.topic, assigned.name.partition);
        let aside = if partition.close().await {
            self.set_damaged_aside(&assigned, reason).await
        } else {
            Err(anyhow::anyhow!("{reason}; it cannot be closed: restart the node"))
        };
        match aside {
            Ok(()) => self.start(image, assigned).await,
            Err(error) => self.note_out(&assigned, &error),
        }
        true
    }

    pub(super) fn note_out(&self, assigned: &Assigned, error: &anyhow::Error) {
        let (name, reason) = (assigned.name.clone(), format!("{error:#}"));
        let (key, may_pass) = ((assigned.topic, name.partition), may_pass(error));
        let mut troubles = lock(&self.troubles);
        let before = troubles.get(&key);
        if !before.is_some_and(|before| before.is_out && before.reason == reason) {
            tracing::error!(partition = %name, reason, may_pass, "the replica cannot start");
        }
        let set_aside = before.map_or(0, |before| before.set_aside);
        troubles.insert(key, Trouble { name, reason, is_out: true, may_pass, set_aside });
    }

    /// The replica runs: what kept it out has passed.
    pub(super) fn note_in(&self, assigned: &Assigned) {
        let mut troubles = lock(&self.troubles);
        let key = (assigned.topic, assigned.name.partition);
        match troubles.get_mut(&key) {
            Some(trouble) if trouble.set_aside > 0 => trouble.is_out = false,
            _ => drop(troubles.remove(&key)),
        }
    }

    /// Whether a replica is out for a reason that may pass.
    pub(super) fn has_one_to_try_again(&self) -> bool {
        lock(&self.troubles).values().any(|trouble| trouble.is_out && trouble.may_pass)
    }
}

/// Every replica of this node that is out, damaged or being refilled.
pub(super) fn quarantined(partitions: &PartitionSet, troubles: &Troubles) -> Vec<QuarantineView> {
    let out = troubles.values().filter(|trouble| trouble.is_out).map(|trouble| QuarantineView {
        topic: trouble.name.topic.to_string(),
        partition: trouble.name.partition.0,
        state: QuarantineState::Out,
        reason: trouble.reason.clone(),
        ..QuarantineView::default()
    });
    let mut views: Vec<_> = out.collect();
    for partition in partitions.all() {
        let key = (partition.topic_id(), partition.name().partition);
        let suffrage = *partition.group().suffrage().borrow();
        let (state, reason) = match (suffrage, partition.damage()) {
            (_, Some(damage)) => (QuarantineState::Damaged, damage),
            (Suffrage::Refilling { end }, None) => {
                let known = troubles.get(&key).map(|trouble| trouble.reason.clone());
                let state = match end {
                    Some(_) => QuarantineState::Refilling,
                    None => QuarantineState::Waiting,
                };
                (state, known.unwrap_or_else(|| "its log was lost before this start".to_owned()))
            }
            (Suffrage::Unproven, None) => (QuarantineState::Unproven, VOTES_LOST.to_owned()),
            (Suffrage::New | Suffrage::Voter, None) => continue,
        };
        let end_index = match suffrage {
            Suffrage::Refilling { end } => end,
            Suffrage::New | Suffrage::Unproven | Suffrage::Voter => None,
        };
        let applied = partition.group().status().borrow().applied;
        views.push(QuarantineView {
            topic: partition.name().topic.to_string(),
            partition: partition.name().partition.0,
            state,
            reason,
            applied_index: applied.map(|applied| applied.index),
            end_index,
        });
    }
    views.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    views
}
