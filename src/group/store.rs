//! What a coordinator needs from below: a replicated store of groups, and the topics' names.
//!
//! **Invariant:** a write is accepted only in the term in which the coordinator loaded its groups.
//! A coordinator that was deposed without having noticed must not write what it still believes, so
//! an implementation proposes on this node only and never forwards to another leader.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{GroupRecord, OffsetCommit, OffsetEntry};
use crate::model::TopicId;

/// The term of the metadata leadership under which a coordinator acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// Why the store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The term is over; nothing was written.
    #[error("this node no longer leads the metadata group in that term")]
    NotCoordinator,
    /// No quorum or no room; nothing was written.
    #[error("the metadata group cannot be written")]
    Unavailable,
    /// Submitted, outcome unknown.
    #[error("the outcome of the write is unknown")]
    Uncertain,
}

/// Everything a new coordinator starts from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// All group records.
    pub groups: Vec<GroupRecord>,
    /// Ids of groups that have offsets but no record (they only store positions).
    pub offset_only: Vec<Arc<str>>,
}

/// The replicated state of all groups. Each future resolves when the write is committed and
/// applied; the store bounds how long that may take and then answers [`StoreError::Uncertain`].
pub trait GroupStore: Send + Sync + 'static {
    /// Whether no other node can coordinate yet: what is answered from memory is not stale.
    fn is_current(&self) -> bool;

    /// Everything that is stored, as of a moment at which this node led in `term`.
    fn load_all(&self, term: Term) -> BoxFuture<'static, Result<Loaded, StoreError>>;

    /// Replaces the group's record.
    fn put_group(
        &self,
        term: Term,
        record: GroupRecord,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Removes the group's record if it is (still) of this generation and no offsets are left of
    /// the group; does nothing otherwise. Checked where the write is applied, so that a join or
    /// commit under way at the same moment is never undone.
    fn delete_group(
        &self,
        term: Term,
        group: Arc<str>,
        generation: i32,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Stores positions of many groups in one write, in order.
    fn commit_offsets(
        &self,
        term: Term,
        batch: Vec<OffsetCommit>,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Removes those of a group's positions that are (still) exactly these, checked where the
    /// write is applied.
    fn delete_offsets(
        &self,
        term: Term,
        group: Arc<str>,
        entries: Vec<OffsetEntry>,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// All of a group's positions, as of a moment after the call at which this node led in `term`
    /// (a read barrier): a deposed coordinator must not answer with positions that its successor
    /// has overwritten.
    fn offsets(
        &self,
        term: Term,
        group: Arc<str>,
    ) -> BoxFuture<'static, Result<Vec<OffsetEntry>, StoreError>>;
}

/// What groups ask about topics.
pub trait TopicLookup: Send + Sync + 'static {
    /// Number of partitions, `None` if there is no such topic.
    fn partition_count(&self, topic: &str) -> Option<i32>;
    /// The topic's id.
    fn topic_id(&self, topic: &str) -> Option<TopicId>;
    /// The name of the topic with this id.
    fn topic_name(&self, id: TopicId) -> Option<Arc<str>>;
}
