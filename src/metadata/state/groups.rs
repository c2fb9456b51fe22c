//! Applying group records and offset commits.
//!
//! **Invariant:** offsets exist only in topics and partitions that exist. A coordinator's writes
//! are fenced by its term or by the record's version, so that two cannot overwrite one another.

use std::sync::Arc;

use super::State;
use super::pairs::Key;
use crate::metadata::command::CommandReply;
use crate::metadata::record::{
    CommittedOffset, GroupCommit, GroupRecord, OffsetCommit, OffsetKey, StoredGroup,
};
use crate::metadata::refusal::Refusal;

impl State {
    pub(super) fn put_group(
        &mut self,
        record: GroupRecord,
        expected: Option<u64>,
    ) -> Result<CommandReply, Refusal> {
        let actual = self.groups.get(&record.group).map_or(0, |stored| stored.version);
        if expected.is_some_and(|expected| expected != actual) {
            return Err(Refusal::StaleGroup(record.group));
        }
        let version = actual + 1;
        let group = record.group.clone();
        self.touched.insert(Key::Group(group.clone()));
        self.groups.insert(group, Arc::new(StoredGroup { version, record }));
        Ok(CommandReply::GroupVersion(version))
    }

    pub(super) fn delete_group(
        &mut self,
        group: String,
        generation: Option<i32>,
        with_offsets: bool,
    ) -> Result<CommandReply, Refusal> {
        let has_offsets = self.offsets.contains_key(&group);
        let stored = self.groups.get(&group).map(|stored| &stored.record);
        if stored.is_none() && !(with_offsets && has_offsets) {
            return Err(Refusal::UnknownGroup(group));
        }
        if generation.is_some_and(|wanted| stored.is_none_or(|has| has.generation != wanted)) {
            return Err(Refusal::StaleGroup(group));
        }
        let has_members = stored.is_some_and(|record| !record.members.is_empty());
        if has_members || (has_offsets && !with_offsets) {
            return Err(Refusal::GroupNotEmpty(group));
        }
        if self.groups.remove(&group).is_some() {
            self.touched.insert(Key::Group(group.clone()));
        }
        for key in self.offsets.remove(&group).unwrap_or_default().into_keys() {
            self.touched.insert(Key::Offset(group.clone(), key));
        }
        Ok(CommandReply::Done)
    }

    fn partition_exists(&self, commit: &OffsetCommit) -> bool {
        self.image.topic(&commit.topic).is_some_and(|topic| {
            (commit.topic_id.is_zero() || commit.topic_id == topic.id)
                && topic.replicas(commit.partition).is_some()
        })
    }

    pub(super) fn commit_offsets(&mut self, commits: Vec<GroupCommit>) -> CommandReply {
        let mut stored = Vec::with_capacity(commits.len());
        for GroupCommit { group, offsets } in commits {
            let mut group_stored = Vec::with_capacity(offsets.len());
            for commit in offsets {
                let exists = self.partition_exists(&commit);
                group_stored.push(exists);
                if exists {
                    let key = OffsetKey { topic: commit.topic, partition: commit.partition };
                    self.touched.insert(Key::Offset(group.clone(), key.clone()));
                    let of_group = self.offsets.entry(group.clone()).or_default();
                    of_group.insert(key, commit.committed);
                }
            }
            stored.push(group_stored);
        }
        CommandReply::Offsets(stored)
    }

    pub(super) fn delete_offsets(
        &mut self,
        group: String,
        unwanted: Vec<(OffsetKey, Option<CommittedOffset>)>,
    ) -> CommandReply {
        if let Some(offsets) = self.offsets.get_mut(&group) {
            for (key, only) in unwanted {
                let found = offsets.get(&key);
                if found.is_some_and(|found| only.is_none_or(|only| only == *found)) {
                    offsets.remove(&key);
                    self.touched.insert(Key::Offset(group.clone(), key));
                }
            }
            if offsets.is_empty() {
                self.offsets.remove(&group);
            }
        }
        CommandReply::Done
    }

    pub(super) fn remove_offsets_of_topic(&mut self, topic: &str) {
        let touched = &mut self.touched;
        self.offsets.retain(|group, offsets| {
            offsets.retain(|key, _| {
                let keep = key.topic != topic;
                if !keep {
                    touched.insert(Key::Offset(group.clone(), key.clone()));
                }
                keep
            });
            !offsets.is_empty()
        });
    }
}
