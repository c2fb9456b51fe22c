//! The lines of a history.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Event {
    /// The head of the file.
    Run {
        /// Names the run in its values.
        run: String,
        /// What its random choices were drawn from.
        seed: u64,
        /// What repeats it.
        command: String,
        /// Wall-clock time at 0 µs, ms since 1970.
        started_unix_ms: u64,
    },
    /// A producer begins.
    Producer {
        /// Its name.
        producer: String,
        /// Whether duplicates and reordering are ruled out (`enable.idempotence`).
        idempotent: bool,
    },
    /// A record was sent and its outcome is known.
    Send(Send),
    /// A record was polled.
    Poll(Poll),
    /// A group's offset was committed and the commit acknowledged.
    Commit(Commit),
    /// A group's committed offset was asked for.
    Committed(Committed),
    /// A consumer was told where a partition ends, and read it up to there.
    ReadTo(ReadTo),
    /// A node answered as the leader of a partition.
    Answer(Answer),
    /// What a node's replica of a partition holds at the end.
    Replica(Replica),
    /// A fault begins.
    FaultBegin {
        /// Its name.
        fault: String,
        /// The nodes hit.
        nodes: Vec<i32>,
        /// Whether a majority of the nodes still works while it lasts.
        #[serde(default)]
        majority: bool,
        /// How long writes to a partition may stand still, from now if there is a majority and from the heal
        /// if not, µs; none if nothing is promised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        write_gap_max_us: Option<u64>,
        /// When, µs.
        at_us: u64,
    },
    /// The fault is healed: its nodes run again.
    FaultEnd {
        /// Its name.
        fault: String,
        /// When, µs.
        at_us: u64,
    },
}

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// Acknowledged: it must be there.
    Ok {
        /// Where.
        partition: i32,
        /// Its offset, −1 if the broker did not tell.
        offset: i64,
    },
    /// Refused: it must not be there.
    Fail {
        /// Why.
        error: String,
    },
    /// Unknown, as after a time-out: it may be there.
    Info {
        /// Why.
        error: String,
    },
}

/// A send with its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// Who sent it.
    pub producer: String,
    /// The producer's sequence number, from 0 in the order of its sends.
    pub n: u64,
    /// The record's value, unique in the run.
    pub value: String,
    /// The record's key.
    pub key: String,
    /// The partition asked for.
    pub partition: Option<i32>,
    /// When it was handed to the client, µs.
    pub begin_us: u64,
    /// When the outcome was known, µs.
    pub end_us: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// A record seen by a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Who saw it.
    pub consumer: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Value.
    pub value: String,
    /// How often the consumer had been given partitions: it begins anew each time.
    #[serde(default)]
    pub assignment: u64,
    /// When, µs.
    pub at_us: u64,
}

/// Up to where a consumer read a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadTo {
    /// Who read.
    pub consumer: String,
    /// Partition.
    pub partition: i32,
    /// The high watermark.
    pub end: i64,
    /// When it was asked for, µs.
    pub asked_us: u64,
}

/// The committed records of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The node.
    pub node: i32,
    /// Topic and partition.
    pub name: String,
    /// Its first offset.
    pub start: i64,
    /// The offset after the last committed record.
    pub end: i64,
    /// Committed records.
    pub records: u64,
    /// Hash of their bytes.
    pub hash: String,
}

/// An acknowledged commit of a group's offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The group.
    pub group: String,
    /// The member.
    #[serde(default)]
    pub member: String,
    /// How often the member had been given partitions.
    #[serde(default)]
    pub assignment: u64,
    /// Partition.
    pub partition: i32,
    /// The next offset to consume.
    pub offset: i64,
    /// When it was sent, µs.
    #[serde(default)]
    pub begin_us: u64,
    /// When it was acknowledged, µs.
    pub end_us: u64,
}

/// A group's committed offset as it was read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The group.
    pub group: String,
    /// Partition.
    pub partition: i32,
    /// The next offset to consume, −1 if none is committed.
    pub offset: i64,
    /// When it was asked for, µs.
    pub begin_us: u64,
}

/// What a node answered as the leader of a partition, the same again and again for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node.
    pub node: i32,
    /// Partition.
    pub partition: i32,
    /// The epoch of its leadership.
    pub epoch: i32,
    /// The offset after the last committed record.
    pub high_watermark: i64,
    /// When the first of these answers had come, µs.
    pub first_us: u64,
    /// When the last of them was asked for, µs: earlier than `first_us` if there was but one.
    pub last_us: u64,
}

/// A fault and when it lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name.
    pub fault: String,
    /// The nodes hit.
    pub nodes: Vec<i32>,
    /// Whether a majority of the nodes still works while it lasts.
    pub majority: bool,
    /// How long writes to a partition may stand still, µs; none if nothing is promised.
    pub write_gap_max_us: Option<u64>,
    /// When it began, µs.
    pub begin_us: u64,
    /// When it was healed, µs; none if it never was.
    pub end_us: Option<u64>,
}
