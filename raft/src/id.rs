//! The names that consensus speaks in: node, group, cluster and log position.
//!
//! **Invariant:** a bare integer never stands for a node, a group or a log position in this crate's
//! public face.

use std::fmt;

/// A node of the cluster: the broker's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

/// One Raft group: a partition of a topic, or the cluster's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The topic's id, as 128 bits. 0 is no topic.
    pub topic: u128,
    /// The partition's index within the topic.
    pub partition: u32,
}

impl GroupId {
    /// The group that holds the cluster's metadata.
    pub const METADATA: Self = Self { topic: 0, partition: 0 };

    /// Bytes of an encoded id.
    pub const LEN: usize = 20;

    /// Sixteen bytes of topic, then four of partition, both big-endian: sorts as the id does.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.topic.to_be_bytes());
        bytes[16..].copy_from_slice(&self.partition.to_be_bytes());
        bytes
    }

    /// The reverse of [`GroupId::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut topic = [0; 16];
        let mut partition = [0; 4];
        topic.copy_from_slice(&bytes[..16]);
        partition.copy_from_slice(&bytes[16..]);
        Self { topic: u128::from_be_bytes(topic), partition: u32::from_be_bytes(partition) }
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::METADATA {
            return f.write_str("metadata");
        }
        write!(f, "{:032x}-{}", self.topic, self.partition)
    }
}

impl GroupId {
    /// A number that differs by one between neighbouring partitions, for spreading groups over nodes.
    pub(crate) fn spread(self) -> u64 {
        let topic = (self.topic >> 64) as u64 ^ self.topic as u64;
        topic.wrapping_add(u64::from(self.partition))
    }
}

/// Position of an entry in a group's log. Ordered by term, then index, as Raft compares logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term in which a leader appended the entry: the leader epoch of its records.
    pub term: u64,
    /// Index in the log, from 0.
    pub index: u64,
}

impl LogId {
    /// The position `index` of `term`.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.index)
    }
}

/// The cluster's name, exchanged when nodes meet: 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(String);

impl ClusterId {
    /// Longest accepted id, in bytes.
    pub const LEN_MAX: usize = 64;

    /// `None` where the text is empty or longer than [`ClusterId::LEN_MAX`] bytes.
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        (1..=Self::LEN_MAX).contains(&id.len()).then_some(Self(id))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_ids_keep_their_bytes_and_their_order() {
        let low = GroupId { topic: 0x0102, partition: 3 };
        let high = GroupId { topic: 0x0102, partition: 0x0400_0000 };
        let mut golden = [0; 20];
        golden[14..20].copy_from_slice(&[1, 2, 0, 0, 0, 3]);
        assert_eq!(low.to_bytes(), golden);
        assert_eq!(GroupId::from_bytes(golden), low);
        assert!(low < high && low.to_bytes() < high.to_bytes());
    }

    #[test]
    fn cluster_ids_are_bounded() {
        assert!(ClusterId::new("").is_none());
        assert!(ClusterId::new("x".repeat(64)).is_some());
        assert!(ClusterId::new("x".repeat(65)).is_none());
    }
}
