//! What a group wants done outside of itself.

use super::super::{GroupError, GroupRecord, JoinAnswer, JoinRefusal, SyncAnswer};

/// Names a request that waits for its answer; never reused within a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A record to be stored; [`super::ClassicGroup::written`] takes the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Grows with every write of the group.
    pub version: u64,
    /// The whole group.
    pub record: GroupRecord,
}

/// Answers to give and a record to store, in no particular order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers to JoinGroup.
    pub joins: Vec<(Token, Result<JoinAnswer, JoinRefusal>)>,
    /// Answers to SyncGroup.
    pub syncs: Vec<(Token, Result<SyncAnswer, GroupError>)>,
    /// At most one, and none while the last one's outcome is not known.
    pub write: Option<Write>,
}
