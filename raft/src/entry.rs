//! What a log holds, and what a state machine answers and condenses it to.
//!
//! **Invariant:** `Debug` and `Display` never print payload bytes, only their length: payloads are
//! users' records, and logs must neither leak nor repeat them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::id::LogId;
use crate::membership::{Membership, StoredMembership};

/// An entry of a group's log.
#[derive(Debug)]
pub struct Entry {
    /// Where it stands.
    pub log_id: LogId,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Debug, Default)]
pub enum Payload {
    /// A new leader's first entry: commits what earlier leaders left.
    #[default]
    Blank,
    /// A change of the group's members, effective as soon as it is in the log.
    Membership(Membership),
    /// The proposer's bytes.
    Data(Data),
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Membership(membership) => write!(f, "membership {:?}", membership.configs),
            Self::Data(data) => data.fmt(f),
        }
    }
}

/// A proposal's bytes.
#[derive(Clone, Default)]
pub struct Data {
    /// What is replicated.
    pub bytes: Bytes,
    /// Travels beside the bytes from the proposer to this node's own [`LogPort::append`] and nowhere
    /// else: it is not encoded, and is `None` after a read and on followers.
    ///
    /// [`LogPort::append`]: crate::LogPort::append
    pub context: Option<Arc<dyn Any + Send + Sync>>,
}

impl Data {
    /// `bytes` without a context.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), context: None }
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry answers to its proposer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to say: blank and membership entries.
    None,
    /// A position, such as the base offset of a batch.
    Position(u64),
    /// Bytes that only the state machine and the proposer understand.
    Bytes(Bytes),
    /// The entry was committed, but has no effect.
    Void,
}

/// A proposal that was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where its entry stands.
    pub log_id: LogId,
    /// What the state machine answered.
    pub reply: Reply,
}

/// A state machine's state as of one log position. Kept small: it is sent as one message.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that the state includes; `None` where it includes none.
    pub last: Option<LogId>,
    /// The membership as of `last`.
    pub membership: StoredMembership,
    /// Names the snapshot in logs; needs not be unique.
    pub id: String,
    /// The state, in the state machine's own encoding.
    pub bytes: Bytes,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("last", &self.last)
            .field("id", &self.id)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_bytes_are_never_printed() {
        let payload = Payload::Data(Data::new(&b"secret"[..]));
        assert_eq!(format!("{payload} {payload:?}"), "6 bytes Data(6 bytes)");
    }
}
