//! Identifiers and positions, each a newtype where two of them meet.
//!
//! **Invariant:** a bare integer never crosses a room's boundary as an offset, an epoch or an id.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype! {
    /// A broker's id, which is also its Raft node id. Never negative for a real broker.
    BrokerId(i32)
}
newtype! {
    /// Position of a record in its partition. The log end offset is the next one to be assigned.
    Offset(i64)
}
newtype! {
    /// Kafka's leader epoch: the Raft term in which a batch was appended.
    LeaderEpoch(i32)
}
newtype! {
    /// Index of a partition within its topic, from 0.
    PartitionIndex(i32)
}
newtype! {
    /// Producer id (KIP-98); −1 where a batch has none.
    ProducerId(i64)
}
newtype! {
    /// Producer epoch (KIP-98); −1 where a batch has none.
    ProducerEpoch(i16)
}
newtype! {
    /// Milliseconds since the Unix epoch; −1 where there is none.
    Timestamp(i64)
}

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further on.
    #[must_use]
    pub fn advance(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl ProducerId {
    /// Marks a batch of a producer that is neither idempotent nor transactional.
    pub const NONE: Self = Self(-1);
}

impl Timestamp {
    /// "No timestamp", as Kafka writes it.
    pub const NONE: Self = Self(-1);
}

/// A topic's stable id (KIP-516): never zero for a real topic, new when a topic is made again.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub u128);

impl TopicId {
    /// The reserved "no id".
    pub const ZERO: Self = Self(0);

    /// A fresh random id (UUID version 4 layout), never zero.
    #[must_use]
    pub fn random() -> Self {
        let bits: u128 = rand::random();
        Self((bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62))
    }

    /// The id from its 16 big-endian bytes, as on the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 16 big-endian bytes, as on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Whether this is the reserved "no id".
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl std::str::FromStr for TopicId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// A topic's name and one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Names a partition of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_is_a_version_4_uuid_and_survives_text_and_bytes() {
        let id = TopicId::random();
        assert!(!id.is_zero());
        assert_eq!(id.to_bytes()[6] >> 4, 4);
        assert_eq!(id.to_bytes()[8] >> 6, 2);
        assert_eq!(TopicId::from_bytes(id.to_bytes()), id);
        assert_eq!(id.to_string().parse::<TopicId>(), Ok(id));
    }
}
