//! The replicated state: a pure function of the metadata log's commands.
//!
//! **Invariant:** [`State::apply`] reads no clock, no random numbers and no files; the same
//! commands give the same state, and the same [`State::pairs`], on every node. Every change is
//! marked in `touched`, so that the store writes exactly the entities that changed.

mod brokers;
mod groups;
mod pairs;
mod requests;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use pairs::{Pair, PairChange, PairsError};

use super::command::{Command, CommandReply, Envelope, RequestId};
use super::image::MetadataImage;
use super::record::{CommittedOffset, OffsetKey, StoredGroup};
use super::refusal::Refusal;
use crate::model::ProducerId;
use pairs::Key;
use requests::RequestWindow;

/// Producer ids per block (KIP-730).
pub const PRODUCER_ID_BLOCK: u32 = 1000;

/// Committed offsets of one group.
pub type GroupOffsets = BTreeMap<OffsetKey, CommittedOffset>;

/// Everything that the metadata group replicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    image: Arc<MetadataImage>,
    next_producer_id: i64,
    groups: BTreeMap<String, Arc<StoredGroup>>,
    offsets: BTreeMap<String, GroupOffsets>,
    requests: RequestWindow,
    touched: BTreeSet<Key>,
}

impl State {
    /// The state before the first command.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the command of an entry of `term`, or answers a retry of an applied one as the first
    /// time.
    pub fn apply_once(&mut self, term: u64, envelope: Envelope) -> CommandReply {
        if envelope.fence.is_some_and(|fence| fence != term) {
            return CommandReply::Refused(Refusal::Fenced);
        }
        let Some(request) = envelope.request else {
            return self.apply(envelope.command);
        };
        if let Some(reply) = self.requests.reply(request) {
            return reply.clone();
        }
        let reply = self.apply(envelope.command);
        let (added, dropped) = self.requests.remember(request, reply.clone());
        self.touched.insert(Key::Request(added));
        self.touched.extend(dropped.map(Key::Request));
        reply
    }

    /// Applies one command.
    pub fn apply(&mut self, command: Command) -> CommandReply {
        let outcome = match command {
            Command::RegisterBroker(broker) => self.register_broker(broker),
            Command::CreateTopic(topic) => self.create_topic(topic),
            Command::DeleteTopic { id } => self.delete_topic(id),
            Command::CreatePartitions { id, from, partitions } => {
                self.create_partitions(id, from, partitions)
            }
            Command::AlterConfigs { resource, changes } => self.alter_configs(resource, changes),
            Command::AllocateProducerIds { broker: _ } => self.allocate_producer_ids(),
            Command::PutGroup { record, expected } => self.put_group(record, expected),
            Command::DeleteGroup { group, generation, with_offsets } => {
                self.delete_group(group, generation, with_offsets)
            }
            Command::CommitOffsets(commits) => Ok(self.commit_offsets(commits)),
            Command::DeleteOffsets { group, offsets } => Ok(self.delete_offsets(group, offsets)),
        };
        outcome.unwrap_or_else(CommandReply::Refused)
    }

    /// Brokers, topics and configs, shared with readers.
    #[must_use]
    pub fn image(&self) -> &Arc<MetadataImage> {
        &self.image
    }

    /// A group's record, if it has one.
    #[must_use]
    pub fn group(&self, group: &str) -> Option<&Arc<StoredGroup>> {
        self.groups.get(group)
    }

    /// All group records, by group id.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<StoredGroup>> {
        self.groups.values()
    }

    /// A group's committed offsets, if it has any.
    #[must_use]
    pub fn offsets(&self, group: &str) -> Option<&GroupOffsets> {
        self.offsets.get(group)
    }

    /// All groups that have committed offsets, by group id.
    pub fn all_offsets(&self) -> impl Iterator<Item = (&str, &GroupOffsets)> {
        self.offsets.iter().map(|(group, offsets)| (group.as_str(), offsets))
    }

    /// How a recently applied request was answered.
    #[must_use]
    pub fn reply_of(&self, request: RequestId) -> Option<&CommandReply> {
        self.requests.reply(request)
    }

    /// The image for writing: cloned if readers hold the current one.
    fn image_mut(&mut self) -> &mut MetadataImage {
        Arc::make_mut(&mut self.image)
    }

    fn allocate_producer_ids(&mut self) -> Result<CommandReply, Refusal> {
        let first = self.next_producer_id;
        let next = first.checked_add(i64::from(PRODUCER_ID_BLOCK));
        self.next_producer_id = next.ok_or(Refusal::ProducerIdsExhausted)?;
        self.touched.insert(Key::ProducerIds);
        Ok(CommandReply::ProducerIds { first: ProducerId(first), count: PRODUCER_ID_BLOCK })
    }
}

#[cfg(test)]
mod tests;
