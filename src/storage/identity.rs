//! Whose log a folder holds.
//!
//! **Invariant:** every segment's head carries its log's identity, so a segment in a wrong place is
//! recognised by itself, whatever its folder is called.

use std::fmt;

use crate::model::{PartitionIndex, TopicId};

/// Cluster, topic and partition of a log. The metadata group's log has [`TopicId::ZERO`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The cluster's id, at most 255 bytes.
    pub cluster_id: String,
    /// The topic's id: differs when a topic of the same name is made again.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "partition {} of topic {} of cluster {}",
            self.partition, self.topic_id, self.cluster_id
        )
    }
}
