//! One entry of the log, as the consensus above hands it in and reads it back.
//!
//! **Invariant:** one entry is one frame in a segment: a Kafka batch verbatim, or a `J` frame that
//! consumes no Kafka offset.

use std::fmt;

use bytes::Bytes;

use super::frame::FRAME_HEADER_BYTES;

/// Names an entry: the term in which it was proposed, and its index in the log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Term; also the leader epoch stamped into batches, so at most `i32::MAX`.
    pub term: u64,
    /// Index.
    pub index: u64,
}

impl EntryId {
    /// Shorthand.
    #[must_use]
    pub fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index)
    }
}

/// What an entry holds.
#[derive(Clone, PartialEq, Eq)]
pub enum EntryBody {
    /// A v2 batch whose base offset and leader epoch are stamped. Every batch read back is one;
    /// an appended one (a follower's) is verified: stamp and CRC-32C.
    Batch(Bytes),
    /// A v2 batch as its producer sent it, validated by the caller; `append` stamps it, whatever its
    /// offset and epoch fields say (clients differ in what they put there). Never read back.
    Produced(Bytes),
    /// A leader's first entry of its term.
    Blank,
    /// A membership change, opaque here.
    Membership(Bytes),
    /// A state machine command, opaque here (the metadata log's entries).
    Command(Bytes),
    /// An entry that has an index and nothing else.
    Void,
}

impl EntryBody {
    /// Bytes of the body.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Batch(b) | Self::Produced(b) | Self::Membership(b) | Self::Command(b) => b.len(),
            Self::Blank | Self::Void => 0,
        }
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Lengths instead of contents: entries are logged, records must not be.
impl fmt::Debug for EntryBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(b) => write!(f, "Batch({} bytes)", b.len()),
            Self::Produced(b) => write!(f, "Produced({} bytes)", b.len()),
            Self::Blank => f.write_str("Blank"),
            Self::Membership(b) => write!(f, "Membership({} bytes)", b.len()),
            Self::Command(b) => write!(f, "Command({} bytes)", b.len()),
            Self::Void => f.write_str("Void"),
        }
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Term and index.
    pub id: EntryId,
    /// Contents.
    pub body: EntryBody,
}

impl LogEntry {
    /// Shorthand.
    #[must_use]
    pub fn new(term: u64, index: u64, body: EntryBody) -> Self {
        Self { id: EntryId { term, index }, body }
    }

    /// Bytes that it takes in a segment, a frame's header more for a batch.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES + self.body.len()) as u64
    }
}
